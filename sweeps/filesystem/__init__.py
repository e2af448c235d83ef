"""What a shared file system can be trusted with: files, locks, processes."""
