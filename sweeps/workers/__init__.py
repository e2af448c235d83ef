"""A process that runs trials, and how it takes, retries and records them."""
