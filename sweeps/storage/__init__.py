"""The folder of a sweep on disk: what everything else is made from."""
