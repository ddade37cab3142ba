"""`python -m evac.lab.bench.soak [--minutes 10] [--loss 0.1] [--out FOLDER]`: a lossy network, and nothing may move.

Real minutes of loss on every link of the primary's region, half as much on what connects all others, under load. What
this is not: a measure of how often it would happen (`evac.sim.loss` plays 30 days).

Exit code 1 when anything was moved, or an acknowledged write is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from evac.core.plan import MOVES
from evac.lab.bench.cases import HOME
from evac.lab.bench.stage import READY_WAIT_S, Stage, serves_well, stage
from evac.lab.clients import at_lab
from evac.lab.faults import FaultKind
from evac.lab.judge import judge

FOLDER = Path("build/soak")
TELL_EVERY_S = 60.0
SETTLE_S = 5.0
"""How long the network is whole again before the record is read."""


async def soak(on: Stage, *, minutes: float, loss: float) -> bool:
    """Lose packets for so long; return whether nothing was moved, lost or twice owned."""
    if not await on.until(lambda s: serves_well(s, HOME), within_s=READY_WAIT_S):
        print(f"the lab is not well; see {on.lab.folder}")
        return False
    async with on.clients(at_lab.outside(on.layout, dns=on.dns), site="clients") as clients:
        for region in on.layout.regions:
            await on.lab.fault(FaultKind.LOSS, region, value=loss if region == HOME else loss / 2)
        for _ in range(round(minutes * 60 / TELL_EVERY_S)):
            await asyncio.sleep(TELL_EVERY_S)
            print(", ".join(f"{r.plan.kind} {r.id}" for r in await on.estate.runs()) or "no run", flush=True)
        await on.lab.heal()
        await asyncio.sleep(SETTLE_S)
    (placement,) = (await on.estate.health()).placements
    verdict = judge([clients], rows=await on.rows(clients, primary=placement.primary, also=()))["orders"]
    moved = [run for run in await on.estate.runs() if run.plan.kind in MOVES]
    print(
        f"{minutes:g} minutes of {loss:.0%} loss on {HOME}'s links: {len(moved)} moves, {verdict.acknowledged} orders"
        f" acknowledged, {len(verdict.lost)} lost, {len(verdict.two_owners)} by a second owner"
    )
    return not moved and verdict.kept


async def _main(options: argparse.Namespace) -> bool:
    async with stage(options.out, mode="sync") as on:
        return await soak(on, minutes=options.minutes, loss=options.loss)


def main(argv: list[str]) -> None:
    """Read the options, play, and say how it ended."""
    parser = argparse.ArgumentParser(prog="python -m evac.lab.bench.soak", description="Loss, and nothing may move.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--loss", type=float, default=0.1, help="part of the packets lost on the primary's links")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the lab")
    sys.exit(0 if asyncio.run(_main(parser.parse_args(argv))) else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
