"""What SLURM is asked, and how its answers are read."""
