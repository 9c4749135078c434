"""`python -m predict.share_worker`: a further process of `--devices`, which does its share of a map."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from augment_store.cli.parser import run_guarded
from augment_store.io.signals import end_with_parent
from augment_store.utils.validation import load_json
from predict.options import PredictOptions
from predict.shares import Share


def main(arguments: Sequence[str]) -> int:
    """Do the share that `predict.shares` wrote down; return the exit status."""
    (text,) = arguments
    options, share = load_json(text)
    end_with_parent()
    # it reports nothing, as the first process does
    return run_guarded(lambda: _run(PredictOptions(**options | {"quiet": True}), Share(**share)))


def _run(options: PredictOptions, share: Share) -> int:
    from predict.run import run_share  # torch and TerraTorch are imported here, when work starts

    run_share(options, share)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
