"""Using a trained model: reconstruct, encode, decode."""
