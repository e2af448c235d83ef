"""Scans of any study brought into the layout."""
