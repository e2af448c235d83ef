"""Plain Optuna, as one would write it in an afternoon, under the faults of tests/faults."""
