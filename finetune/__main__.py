"""`python -m finetune fit · validate · test · predict`, and the console script `tim-finetune`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from augment_store.cli.parser import run_guarded
from augment_store.store.history import command_line
from augment_store.utils.log_filters import filter_warnings
from finetune.log_filters import LOGGERS, REMARKS
from finetune.options import parse


def main(arguments: Sequence[str]) -> int:
    """Run a command; return the exit status."""
    return run_guarded(lambda: _run(arguments), command_line("finetune", arguments))


def _run(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    filter_warnings(REMARKS)
    # Zarr is imported here, for a store
    from finetune.run.preflight import check_early, locate_on_hub, resume_interrupted
    from finetune.run.trainer import check_accelerator

    options = resume_interrupted(options)
    given = check_early(options)
    check_accelerator(given.get("trainer") or {}, options.overrides)
    locate_on_hub(options, given)
    from finetune.run.train import run  # torch and TerraTorch are imported here, when work starts

    filter_warnings(REMARKS, LOGGERS)  # again, after the imports, which set their own filters and levels
    run(options, given)
    return 0


def script() -> int:
    """Run as the console script."""
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(script())
