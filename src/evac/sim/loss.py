"""`python -m evac.sim.loss --days 30`: what the shipped settings make of packet loss, and of regions that fail.

Intuition: healthy estates play whole days, each with its own seed, and whatever moves one was wrong; sick ones play
until they are moved, and how long that took is told as quantiles.

What this is not: the model (`lossy`).
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from statistics import median

from evac.core.estate import RegionId
from evac.sim.estates import EAST
from evac.sim.lossy import Failing, Tally, healthy, time_to_move

RESTARTS = (0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
"""Seconds that a database is away when it is started anew."""
DAY = 86400.0


def _quantiles(times: list[float]) -> str:
    ordered = sorted(times)
    p95 = ordered[int(0.95 * (len(ordered) - 1))]
    return f"median {median(ordered):.1f} s, p95 {p95:.1f} s, longest {ordered[-1]:.1f} s ({len(ordered)} runs)"


def _day(loss: float, around: RegionId | None, seed: int) -> Tally:
    return healthy(seconds=DAY, loss=loss, around=around, seed=seed)


def many_days(pool: Executor, *, days: int, loss: float, around: RegionId | None, seed: int) -> Tally:
    """Return what the core says in so many days, each with its own seed, on as many processors as there are."""
    total = Tally()
    each = pool.map(_day, [loss] * days, [around] * days, range(seed, seed + days))
    for count, tally in enumerate(each):
        total.moves += [count * DAY + at for at in tally.moves]
        total.verdicts += tally.verdicts
        total.calls += tally.calls
        total.shifts += tally.shifts
        total.assessments += tally.assessments
        total.questions += tally.questions
    return total


def main() -> int:
    """Print what the shipped settings lead to. Exit code 1 when a healthy estate was moved."""
    parser = argparse.ArgumentParser(description="Packet loss against the real core, at the shipped settings.")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--loss", type=float, default=0.10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=100, help="runs for each detection time")
    parser.add_argument("--links", choices=("region", "all", "both"), default="both")
    arguments = parser.parse_args()
    moved = 0
    with ProcessPoolExecutor() as pool:
        for name, around in (("region", EAST), ("all", None)):
            if arguments.links not in (name, "both"):
                continue
            begun = time.monotonic()
            tally = many_days(pool, days=arguments.days, loss=arguments.loss, around=around, seed=arguments.seed)
            moved += len(tally.moves) + tally.shifts
            print(
                f"{arguments.loss:.0%} loss, links: {name}, {arguments.days} days: {len(tally.moves)} moves,"
                f" {tally.shifts} shifts of traffic,"
                f" {tally.calls} calls of a person, {tally.questions:,} questions, {tally.assessments:,} assessments,"
                f" {time.monotonic() - begun:.0f} s; verdicts: { ({str(k): n for k, n in tally.verdicts.items()}) }",
                flush=True,
            )
    failures = (
        ("region dead", Failing.LOSSY, 1.0),
        ("40 % loss", Failing.LOSSY, 0.4),
        ("database killed", Failing.DATABASE_KILLED, 0.0),
        ("region shut down", Failing.SHUT_DOWN, 0.0),
    )
    for what, how, loss in failures:
        times = [time_to_move(loss=loss, how=how, seed=seed) for seed in range(arguments.runs)]
        print(f"{what}: decided after {_quantiles(times)}", flush=True)
    for lasts in RESTARTS:
        ends = [
            time_to_move(how=Failing.DATABASE_KILLED, lasts=lasts, seed=seed, limit=10.0)
            for seed in range(arguments.runs)
        ]
        print(
            f"database away for {lasts:g} s: moved in {sum(end < 10 for end in ends)} of {len(ends)} runs", flush=True
        )
    return 1 if moved else 0


if __name__ == "__main__":
    raise SystemExit(main())
