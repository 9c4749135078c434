"""`python -m predict`, and the console script `tim-predict`."""

import sys

from predict.cli import main


def script() -> int:
    """Run the console script."""
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(script())
