"""Every attack there is, with counts, in as many processes as there are cores: `python -m tests.faults`.

Exit 1 where one of them ends in anything but an error of ours, no harm, or a full recovery.
"""

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.faults.campaigns import campaigns, carry_out
from tests.faults.tally import HEADING, Tally


def main() -> int:
    """Prints a row an attack, and every failure."""
    total = Tally("all")
    sys.stdout.write(HEADING + "\n")
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        for done in as_completed([pool.submit(carry_out, campaign) for campaign in campaigns()]):
            tally = done.result()
            sys.stdout.writelines(f"{line}\n" for line in (tally, *tally.failures))
            sys.stdout.flush()
            total.counts.update(tally.counts)
    sys.stdout.write(f"{total}\n")
    return int(total.counts["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
