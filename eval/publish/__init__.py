"""What is published of a run: weights, card and the evidence."""
