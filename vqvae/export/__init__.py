"""Exporting a model as programs that run with torch alone, and opening them safely."""
