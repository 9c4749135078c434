"""`python -m generate`, and the console script `tim-generate`."""

import sys

from generate.cli.main import main


def script() -> int:
    """Entry point of the console script."""
    return main(sys.argv[1:])


if __name__ == "__main__":  # processes that read ahead import this file too
    sys.exit(script())
