"""Stage 2: fine-tuning on chips joined with an augment store."""
