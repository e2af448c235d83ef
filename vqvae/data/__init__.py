"""Reading, making and checking 2-D MRI slices in the HipMRI layout."""
