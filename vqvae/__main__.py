"""`python -m vqvae` runs the command `vqvae`."""

from vqvae.cli.main import main

if __name__ == "__main__":
    main()
