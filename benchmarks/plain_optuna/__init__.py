"""A sweep with plain Optuna, as one would write it in an afternoon, for the fault injector."""
