"""What is joined to a sample: encodings of the cached maps, the store they come from, the controls."""
