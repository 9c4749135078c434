"""Every attack there is, with counts, in as many processes as there are cores: `python -m tests.faults`.

`python -m tests.faults "command: cut" kill --share 0.2` makes a fifth of those whose names begin so. Exit 1 where
one of them ends in anything but an error of ours, no harm, or a full recovery.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tests.faults.preload import is_available, preloaded_environment
from tests.faults.tally import HEADING, Tally


def main(arguments: Sequence[str]) -> int:
    """Print a row for each attack, and every failure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="how names of campaigns begin (default: all)"
    )
    parser.add_argument("--share", type=float, default=1.0, help="share of the attacks to make (default: 1)")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parsed = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        return _carry_out(Path(folder).resolve(), parsed)


def _carry_out(folder: Path, parsed: argparse.Namespace) -> int:
    if is_available():
        os.environ |= preloaded_environment(folder)  # for the processes below, which start with it
    # imported here, as it takes torch, which the list of options need not wait for
    from tests.faults.campaigns import campaigns, carry_out
    from tests.faults.stage import make_command_world

    wanted = [each for each in campaigns(folder / "world") if each.name.startswith(tuple(parsed.names) or "")]
    if not is_available():
        wanted = [each for each in wanted if not each.name.startswith("command: ")]
        sys.stderr.write("commands are left out: to attack them takes Linux and a C compiler (cc)\n")
    if parsed.list:
        sys.stdout.writelines(f"{each.name}\n" for each in wanted)
        return 0
    total = Tally("all")
    sys.stdout.write(HEADING + "\n")
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        if any(each.name.startswith("command: ") for each in wanted):
            pool.submit(make_command_world, folder).result()
        for done in as_completed([pool.submit(carry_out, each, parsed.share) for each in wanted]):
            for tally in done.result():
                sys.stdout.writelines(f"{line}\n" for line in (tally, *tally.failures))
                sys.stdout.flush()
                total.counts.update(tally.counts)
    sys.stdout.write(f"{total}\n")
    return int(total.counts["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
