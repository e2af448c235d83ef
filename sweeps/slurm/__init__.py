"""What a sweep asks of SLURM, and what it knows of its ways; submitit is the launcher's."""
