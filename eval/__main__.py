"""`python -m eval`, and the console script `tim-eval`."""

import sys

from eval.cli.main import main


def script() -> int:
    """Run the console script."""
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(script())
