"""`python -m finetune fit · validate · test · predict`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from augment_store.errors import AugmentStoreError
from finetune.options import parse


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0, or 2 after an error the user can act on."""
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        from finetune.run import run  # heavy, so only when work starts

        run(options)
    except AugmentStoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
