"""Commands that processes start, not people."""
