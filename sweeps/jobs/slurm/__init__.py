"""SLURM: the commands that are run, how often, and how their answers are read."""
