"""Publishing a run: weights, card and the evidence."""
