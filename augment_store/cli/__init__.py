"""Command line of the store: one module per subcommand."""
