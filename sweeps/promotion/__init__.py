"""From a sweep's best trial to a model that people use: confirm, score, decide, register."""
