"""The study: Optuna, its journal and the pruning rule."""
