"""Command line of the store: one module per subcommand."""

from augment_store.cli.main import main

__all__ = ["main"]
