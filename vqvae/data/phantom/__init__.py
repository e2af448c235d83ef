"""A synthetic male pelvis in the same layout."""
