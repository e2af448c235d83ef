"""What a sweep teaches, in sentences: pure functions of what its folders hold."""
