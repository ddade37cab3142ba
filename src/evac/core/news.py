"""News: what people are told, as values; the lines, pages and JSON made of them all say the same.

Intuition: three things happen that are worth a line: a verdict changes, a decision changes (also the decision to do
nothing), a run takes a step. Nothing is told twice.

What this is not: the words (`evac.report.lines`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from evac.core.decision import Decision
from evac.core.observation import Instant
from evac.core.run import Event, RunId
from evac.core.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictNews:
    """A region's diagnosis changed; `before` is None when it is the first."""

    at: Instant
    verdict: Verdict
    before: Verdict | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionNews:
    """What is to be done about a group changed."""

    at: Instant
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNews:
    """A run's journal has a new entry.

    A controller that takes a run up tells its opening once more, with the entries that have been told `already`: what a
    run achieved is measured from all of them.
    """

    at: Instant
    run: RunId
    event: Event
    already: tuple[Event, ...] = ()


News: TypeAlias = VerdictNews | DecisionNews | RunNews


class Announce(Protocol):
    """Whoever wants to hear the news. It must return at once, and never raise."""

    def __call__(self, news: News) -> None: ...


def silent(news: News) -> None:
    """Announce to nobody."""
