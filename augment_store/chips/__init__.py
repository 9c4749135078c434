"""Chips on disk: their layouts, reading them, where they lie and which scene they were cut from."""
