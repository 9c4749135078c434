"""Where weights are published, how they are found and read, and the proof that they are the ones in use."""
