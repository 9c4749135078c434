"""One fine-tune: its configuration, its execution and its record."""
