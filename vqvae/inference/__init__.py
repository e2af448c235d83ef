"""Using a trained model: reconstructing, encoding and decoding scans."""
