"""Evaluation of fine-tuned arms against the Phase 2 baseline."""
