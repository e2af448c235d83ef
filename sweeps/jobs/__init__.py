"""What runs where: submission of jobs, their supervision, and SLURM."""
