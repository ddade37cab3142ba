"""How long steps took in earlier runs: what forecasts rest on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from evac.core.estate import Estate
from evac.core.plan import Verb
from evac.core.run import Run

KEPT_MAX = 50
"""So many of the newest runs of each verb count."""


def durations_of(runs: Iterable[Run], estate: Estate) -> dict[tuple[str, Verb], list[timedelta]]:
    """Return the durations of all steps that were done, by driver and verb, oldest first."""
    found: dict[tuple[str, Verb], list[timedelta]] = {}
    for run in runs:
        for step in run.plan.steps:
            progress = run.does.get(step.id)
            component = estate.components.get(step.action.component)
            if component is None or progress is None or progress.receipt is None or progress.ended_at is None:
                continue
            kept = found.setdefault((component.driver, step.action.verb), [])
            kept.append(progress.ended_at - progress.started_at)
            del kept[:-KEPT_MAX]
    return found
