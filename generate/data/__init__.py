"""Chips on their way into the generator."""
