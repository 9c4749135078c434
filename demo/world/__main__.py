"""`python -m demo.world`."""

import sys

from demo.world.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
