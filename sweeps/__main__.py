"""The command line, as `python -m sweeps`."""

from sweeps.cli.main import main

if __name__ == "__main__":
    main()
