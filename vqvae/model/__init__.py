"""The network, the quantizer, and their loss."""
