"""MLflow, written from the sweep's folders."""
