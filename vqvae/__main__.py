"""`python -m vqvae`: the same as the command `vqvae`."""

from vqvae.cli.main import main

if __name__ == "__main__":
    main()
