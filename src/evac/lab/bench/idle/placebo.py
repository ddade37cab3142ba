"""`python -m evac.lab.bench.idle.placebo SHARE`: use so much of a processor, and ask nobody, while the bench lives.

Intuition: evac's processes take processor time on the machine they run on. On a machine that others work on, too, that
alone moves others about, onto the primary's processor as well. So while evac is off something stands in for it that
takes as much, and is no cost of the database: what differs then is what evac asks.
"""

from __future__ import annotations

import os
import sys
import time

PERIOD_S = 0.02


def main(share: float) -> None:
    """Work for a part of each period, until whoever began this is gone or kills it."""
    bench = os.getppid()
    while os.getppid() == bench:
        until = time.process_time() + share * PERIOD_S
        began = time.monotonic()
        while time.process_time() < until:
            pass
        time.sleep(max(PERIOD_S - (time.monotonic() - began), 0.0))


if __name__ == "__main__":
    main(float(sys.argv[1]))
