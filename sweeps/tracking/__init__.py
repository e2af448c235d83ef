"""Tracking: MLflow is kept up to date with the sweep's folders."""
