"""`python -m demo.world`."""

import sys

from demo.world.command import main

sys.exit(main(sys.argv[1:]))
