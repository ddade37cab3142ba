"""Move a group by the Python API: plan first, then move, then read what came of it.

Run it where the estate can be reached: python examples/failover.py estate.yaml us-west-2
"""

from __future__ import annotations

import asyncio
import sys

import evac
from evac.core.errors import UnsafePlan
from evac.core.run import Outcome


async def main(path: str, target: str) -> int:
    async with evac.open(path) as estate:
        health = await estate.health()
        for verdict in health.verdicts:
            print(f"{verdict.region}: {verdict.diagnosis}")
        try:
            plan = await estate.plan(target=target, kind="switchover")
        except UnsafePlan as refusal:
            print("refused:", *refusal.reasons, sep="\n  ")
            return 3
        forecast = await estate.forecast(plan)
        print(f"{len(plan.steps)} steps, RTO {forecast.rto.total_seconds():.1f} s")
        for loss in forecast.rpo_basis:
            print(f"{loss.component} would lose: {loss.why}")
        run = await estate.switchover(target, reason="the example")
        report = await estate.report(run.id)
        print(report.did)
        return 0 if report.outcome is Outcome.COMPLETED else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
