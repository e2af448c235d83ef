"""Scores of a model: metrics, regions, the test split."""
