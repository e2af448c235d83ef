"""Importing the scans of any study into the HipMRI layout, and checking a data set."""
