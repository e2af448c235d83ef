"""The study: Optuna, its journal, and pruning."""
