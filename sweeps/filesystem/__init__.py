"""Files, locks and processes on a shared file system."""
