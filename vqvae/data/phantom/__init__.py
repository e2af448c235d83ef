"""A phantom: a synthetic data set of the male pelvis in the HipMRI layout."""
