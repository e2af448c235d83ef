"""Scoring a model: metrics, regions of a slice, the test split, figures."""
