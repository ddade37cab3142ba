"""`python -m evac.sim --seeds N [--from M] [--jobs N]`: many seeds, and the one line of JSON that they end with.

Intuition: `evac sim` comes with all of evac, whose edges need libraries that are made for CPython only. A simulation
needs none of them: this command runs wherever the core and the engine do, PyPy with its compiler among them.

What this is not: another simulation. A seed is the same here, there, and on either interpreter.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from evac.sim import campaign
from evac.sim.campaign import Choice
from evac.sim.setting import REGIONS, Result


def main(argv: Sequence[str]) -> int:
    """Play them, and return the exit code: 1 if a promise was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m evac.sim", description="Play regions through faults.", allow_abbrev=False
    )
    parser.add_argument("--seeds", type=int, required=True, help="simulate so many")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first one (0)")
    parser.add_argument("--regions", type=int, choices=REGIONS, help="3 to 9; default: 3 or 5, by the seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="so many at a time")
    options = parser.parse_args(argv)
    choice = Choice(regions=options.regions)

    def told(result: Result) -> None:
        for violation in result.violations:
            print(f"{result.setup}: {violation}; {choice.replay(result.setup.seed)}", file=sys.stderr)

    seeds = range(options.first, options.first + options.seeds)
    tally = campaign.run(seeds, choice=choice, told=told, jobs=options.jobs)
    print(json.dumps(tally.plain()))
    return 1 if tally.violations else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
