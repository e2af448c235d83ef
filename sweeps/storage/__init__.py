"""The folder of a sweep on disk; the study and MLflow are written from it."""
