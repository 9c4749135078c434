"""Command lines of stage 1."""
