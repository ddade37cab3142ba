"""Gray: what the answers that one vantage point got lately, and its real clients, say of what works only now and then.

What this is not: a verdict. Which vantage points count, and how many must agree, is `assessment`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby, takewhile

from evac.core.detector import Cell
from evac.core.observation import Carried, Instant
from evac.core.policy import Detection

CLIENT_FAILURES_MIN = 5
"""So many of the client probes within the gray window must fail at least: a few lost handshakes are nothing new."""
CLIENT_ROW_MIN = 4
CLIENT_ROW_LASTING = 0.75
"""Or so many in a row, over this part of the window: where every client waits in vain, few answers come in it."""
RECOVERED_AFTER = 4
"""So many successes in a row, and what clients met before is history."""
OUTAGE_FAILING = 0.9
"""Where more than this part fails from the first failure to the last, it is an outage, which other rows judge."""
RELAPSING = 0.75
"""So it is where more than this part does of every service by itself: one that comes back may relapse once."""

LOSSY_BUT_ONE = 0.5
"""Without the service that fails most a path must still lose this part of what makes a path lossy: a service that
comes and goes is none.
"""

CARRIED_MIN = 20
"""Fewer requests of real clients within the gray window, or within its newest third, say nothing."""


def clients_fail(cell: Cell, policy: Detection) -> bool:
    """Return whether a vantage point's client probes fail too often, and still do."""
    often = cell.failed >= CLIENT_FAILURES_MIN and cell.failing_share() >= policy.gray_failing
    return (often and cell.successes < RECOVERED_AFTER) or _all_in_vain(cell, policy)


def _all_in_vain(cell: Cell, policy: Detection) -> bool:
    """Whether a vantage point's client probes have failed in a row for so long that nobody can be getting in."""
    if cell.first_failure is None or cell.failures < CLIENT_ROW_MIN:
        return False
    return cell.last - cell.first_failure >= CLIENT_ROW_LASTING * policy.gray_window


def met_since(cell: Cell, moment: Instant | None) -> Cell:
    """Return a cell without what it met up to a moment, such as that at which a silent region was heard of again: an
    outage that is over is no sign that anything works only now and then.
    """
    if moment is None or not cell.recent or cell.recent[0] > moment:
        return cell
    recent = tuple(at for at in cell.recent if at > moment)
    bad = tuple(at for at in cell.bad if at > moment)
    row = tuple(takewhile(set(bad).__contains__, reversed(recent)))
    return replace(cell, recent=recent, bad=bad, failures=len(row), first_failure=row[-1] if row else None)


def since_outage(cells: Sequence[Cell], policy: Detection) -> tuple[Cell, ...]:
    """Return a region's cells without what they met up to the end of their last outage, if all of them were in one: a
    row of failures that outlasts the window in which loss is looked for.

    What comes back relapses, one service after the other; whether its path loses packets is seen from there on. But
    while all of them are down again it did not come back: that comes and goes, which no other row sees.
    """
    ends = [_outage_until(cell, policy) for cell in cells]
    if not all(ends):
        return tuple(cells)
    since = tuple(met_since(cell, end) for cell, end in zip(cells, ends, strict=True))
    down_again = all(cell.failures >= policy.failures for cell in since)
    return tuple(cells) if down_again else since


def _outage_until(cell: Cell, policy: Detection) -> Instant | None:
    """The last failure of the last row that outlasted the lossy window; None where none did."""
    failed = set(cell.bad)
    rows = [list(row) for bad, row in groupby(cell.recent, failed.__contains__) if bad]
    return max((row[-1] for row in rows if row[-1] - row[0] >= policy.lossy_window), default=None)


def carried_since(counts: Sequence[Carried], moment: Instant | None) -> Sequence[Carried]:
    """Return those of the windows that began at a moment or later, for the same reason."""
    return counts if moment is None else [c for c in counts if c.at - c.window >= moment]


def one_outage(cells: Sequence[Cell], policy: Detection, now: Instant) -> bool:
    """Return whether hardly anything passed from the first failure to the last (it is down, or was), or all is past.

    When a region comes back its services do so one after the other: then that is so of each by itself, in a row that
    took it down.
    """
    begin = now - policy.lossy_window
    hit = [cell for cell in cells if cell.bad and cell.bad[-1] > begin]
    if not hit or max(cell.bad[-1] for cell in hit) < now - policy.lossy_window / 3:
        return True
    if _in_a_row(cells, OUTAGE_FAILING, begin=begin):
        return True
    return all(_in_a_row((cell,), RELAPSING, begin=begin) >= policy.failures for cell in hit)


def _in_a_row(cells: Sequence[Cell], part: float, *, begin: Instant) -> int:
    """How many answers failed after `begin`; 0 unless more than a part did from the first failure to the last."""
    failures = [at for cell in cells for at in cell.bad if at > begin]
    first, last = min(failures), max(failures)
    between = sum(first <= at <= last for cell in cells for at in cell.recent)
    return len(failures) if len(failures) > part * between else 0


def lately(cells: Iterable[Cell], policy: Detection, now: Instant) -> tuple[int, int]:
    """Return how many answers came within the lossy window, and how many of them were failures."""
    oldest, answers, failed = now - policy.lossy_window, 0, 0
    for cell in cells:
        answers += sum(at > oldest for at in cell.recent)
        failed += sum(at > oldest for at in cell.bad)
    return answers, failed


def one_alone(services: Iterable[Sequence[Cell]], policy: Detection, now: Instant) -> bool:
    """Return whether what fails lately is nearly all of one service, given the cells of each, while others pass.

    Where only one is looked at that cannot be told.
    """
    *others, _ = sorted((lately(cells, policy, now) for cells in services), key=lambda counted: counted[1])
    answers, failed = sum(n for n, _ in others), sum(n for _, n in others)
    return failed < LOSSY_BUT_ONE * policy.lossy_failing * answers


def carried_share(counts: Sequence[Carried], policy: Detection, now: Instant) -> float | None:
    """Return which part of real clients' requests fails at a vantage point, 0 to 1; None where too few were counted.

    It is what fails over the whole gray window, or in its newest third if that is less: what is over no longer counts.
    """
    shares = []
    for span in (policy.gray_window, policy.gray_window / 3):
        lately = [c for c in counts if c.at > now - span]
        requests = sum(c.requests for c in lately)
        if requests < CARRIED_MIN:
            return None
        shares.append(sum(c.failed for c in lately) / requests)
    return min(shares)


def carried_fail(counts: Sequence[Carried], policy: Detection, now: Instant) -> bool:
    """Return whether real clients' requests fail too often, and still do."""
    if not any(c.failed for c in counts):
        return False
    share = carried_share(counts, policy, now)
    return share is not None and share >= policy.gray_failing


def as_cell(counts: Sequence[Carried], policy: Detection) -> Cell:
    """Return counts as a cell whose answers are whole windows: a window in which too many failed is a failure."""
    bad = tuple(c.at for c in counts if c.failed >= policy.gray_failing * c.requests)
    return Cell(
        up=None,
        since=counts[0].at,
        first_failure=min(bad, default=None),
        failures=0,
        successes=0,
        last=counts[-1].at,
        took=counts[-1].window,
        reason="real clients' requests fail",
        recent=tuple(c.at for c in counts),
        bad=bad,
    )
