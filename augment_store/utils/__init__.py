"""Helpers that know nothing of stores or chips."""
