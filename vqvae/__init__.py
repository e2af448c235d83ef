"""A VQ-VAE of 2-D MRI slices: data, network, quantizer, training, reconstruction."""
