"""`python -m augment_store`, and the console script `tim-store`."""

import sys

from augment_store.cli.main import main


def script() -> int:
    """Entry point of the console script."""
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(script())
