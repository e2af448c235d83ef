"""Data sets of 2-D MRI slices in the HipMRI layout: reading, writing and checking them."""
