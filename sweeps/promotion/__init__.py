"""From a sweep's best trials to the model in use: confirm, score, decide, register."""
