"""Frozen features: a backbone that never changes runs once for each chip, and trainings read what it made."""
