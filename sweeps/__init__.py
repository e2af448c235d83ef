"""Hyperparameter sweeps whose only shared state is a folder."""
