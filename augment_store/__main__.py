"""`python -m augment_store`."""

import sys

from augment_store.cli import main

sys.exit(main(sys.argv[1:]))
