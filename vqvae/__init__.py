"""A VQ-VAE for 2-D MRI slices: data, network, quantizer, training, reconstruction."""
