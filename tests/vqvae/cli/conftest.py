"""The data that the commands of `vqvae data` are tried on."""

from tests.vqvae.data.conftest import phantom, write

__all__ = ["phantom", "write"]
