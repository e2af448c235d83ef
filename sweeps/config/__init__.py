"""What a person writes: experiment and cluster files."""
