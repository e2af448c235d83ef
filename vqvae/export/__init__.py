"""A model as programs that need torch alone."""
