"""How long steps took in earlier runs: what forecasts rest on.

Intuition: a settled run does not change any more. So whoever asks again and again (`Earlier`) reads each run's journal
until it is settled, one run at a time, and keeps no more of it than how long its steps took; and no run is read that
has `RUNS_MAX` newer ones, however long an estate has been there. Of a run whose journal is damaged, or was archived,
nothing is known here: a leader thinks on without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

import structlog

from evac.core.errors import IllegalEvent
from evac.core.estate import Estate
from evac.core.plan import Verb
from evac.core.run import Run, RunId
from evac.engine.journal import opened_so_far, read_unarchived
from evac.ports import Store

KEPT_MAX = 50
"""So many of the newest runs of each verb count."""
RUNS_MAX = 200
"""Of so many of the newest runs at most."""

_log = structlog.get_logger(__name__)


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
        """The durations of the runs up to `_up_to`, which are all settled, or of which nothing is known."""
        self._up_to = 0
        self._unread: set[RunId] = set()
        """Runs of which nothing is known: their journals are damaged."""

    async def durations(self, store: Store) -> Mapping[tuple[str, Verb], list[timedelta]]:
        """Return what `durations_of` would of the newest runs, or of more where they were read before."""
        opened = await opened_so_far(store)
        if opened < self._up_to:
            self._settled, self._up_to, self._unread = {}, 0, set()
        self._up_to = max(self._up_to, opened - RUNS_MAX)
        found = {key: list(took) for key, took in self._settled.items()}
        for number in range(self._up_to + 1, opened + 1):
            run = await self._read(RunId(str(number)), store)
            passed = number == self._up_to + 1 and (run is None or run.settled is not None)
            if run is not None:
                for kept in (found, self._settled) if passed else (found,):
                    _add(run, kept, self._estate)
            self._up_to += passed
        return found

    async def _read(self, run: RunId, store: Store) -> Run | None:
        """A run by its journal; None where nothing is known of it any more."""
        if run in self._unread:
            return None
        try:
            return await read_unarchived(run, store=store)
        except (KeyError, IllegalEvent, ValueError) as error:
            self._unread.add(run)
            _log.warning("a run's journal is damaged: forecasts leave it out", run=run, why=str(error))
            return None
