"""How long steps took in earlier runs: what forecasts rest on.

Intuition: a settled run does not change any more. So whoever asks again and again (`Earlier`) reads each run's journal
until it is settled, one run at a time, and keeps no more of it than how long its steps took; and no run is read that
has `RUNS_MAX` newer ones, however long an estate has been there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from evac.core.estate import Estate
from evac.core.plan import Verb
from evac.core.run import Run
from evac.engine.journal import each_run, opened_so_far
from evac.ports import Store

KEPT_MAX = 50
"""So many of the newest runs of each verb count."""
RUNS_MAX = 200
"""Of so many of the newest runs at most."""


def durations_of(runs: Iterable[Run], estate: Estate) -> dict[tuple[str, Verb], list[timedelta]]:
    """Return the durations of all steps that were done, by driver and verb, oldest first."""
    found: dict[tuple[str, Verb], list[timedelta]] = {}
    for run in runs:
        _add(run, found, estate)
    return found


def _add(run: Run, found: dict[tuple[str, Verb], list[timedelta]], estate: Estate) -> None:
    for step in run.plan.steps:
        progress = run.does.get(step.id)
        component = estate.components.get(step.action.component)
        if component is None or progress is None or progress.receipt is None or progress.ended_at is None:
            continue
        kept = found.setdefault((component.driver, step.action.verb), [])
        kept.append(progress.ended_at - progress.started_at)
        del kept[:-KEPT_MAX]


class Earlier:
    """The durations of all runs of one store, for who asks for them again and again."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate
        self._settled: dict[tuple[str, Verb], list[timedelta]] = {}
        """The durations of the runs up to `_up_to`, which are all settled."""
        self._up_to = 0

    async def durations(self, store: Store) -> Mapping[tuple[str, Verb], list[timedelta]]:
        """Return what `durations_of` would of the newest runs, or of more where they were read before."""
        opened = await opened_so_far(store)
        if opened < self._up_to:
            self._settled, self._up_to = {}, 0
        self._up_to = max(self._up_to, opened - RUNS_MAX)
        found = {key: list(took) for key, took in self._settled.items()}
        async for run in each_run(store, after=self._up_to):
            _add(run, found, self._estate)
            if run.settled is not None and int(run.id) == self._up_to + 1:
                _add(run, self._settled, self._estate)
                self._up_to += 1
        return found
