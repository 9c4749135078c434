"""Trains the demo's generator from nothing: ``python -m tools.demo_generator --out DIR [--seed 0]``."""
