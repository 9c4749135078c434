"""A study: several arms and seeds, fine-tuned, scored and compared by one command."""
