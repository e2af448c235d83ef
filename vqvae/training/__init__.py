"""Training, one epoch at a time, and its checkpoints."""
