"""What makes the files that the packages ship; not part of the wheel."""
