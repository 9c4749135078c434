"""`python -m generate`."""

import sys

from generate.cli import main

if __name__ == "__main__":  # reading ahead starts processes that import this file
    sys.exit(main(sys.argv[1:]))
