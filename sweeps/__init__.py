"""Hyperparameter sweeps on SLURM clusters; all shared state is in one folder per sweep."""
