"""The commands of `vqvae`."""
