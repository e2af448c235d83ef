"""Hidden commands, which other processes of a sweep start."""
