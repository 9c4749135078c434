"""Command line of evaluation: one module per subcommand."""
