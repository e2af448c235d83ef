"""Training an epoch at a time, and its checkpoints."""
