"""Jobs: their submission, their supervision, and SLURM."""
