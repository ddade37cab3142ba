"""Gray: what the answers that one vantage point got lately say of what works only now and then.

What this is not: a verdict. Which vantage points count, and how many must agree, is `assessment`'s.
"""

from __future__ import annotations

from collections.abc import Iterable

from evac.core.detector import Cell
from evac.core.estate import Detection
from evac.core.observation import Instant

CLIENT_FAILURES_MIN = 5
"""So many of the client probes within the gray window must fail at least: a few lost handshakes are nothing new."""
CLIENT_ROW_MIN = 4
CLIENT_ROW_LASTING = 0.75
"""Or so many in a row, over this part of the window: where every client waits in vain, few answers come in it."""
RECOVERED_AFTER = 4
"""So many successes in a row, and what clients met before is history."""
OUTAGE_FAILING = 0.9
"""Where more than this part fails from the first failure to the last, it is an outage, which other rows judge."""


def clients_fail(cell: Cell, policy: Detection) -> bool:
    """Return whether a vantage point's client probes fail too often, and still do."""
    often = cell.failed >= CLIENT_FAILURES_MIN and cell.failing_share() >= policy.gray_failing
    return (often and cell.successes < RECOVERED_AFTER) or _all_in_vain(cell, policy)


def _all_in_vain(cell: Cell, policy: Detection) -> bool:
    """Whether a vantage point's client probes have failed in a row for so long that nobody can be getting in."""
    if cell.first_failure is None or cell.failures < CLIENT_ROW_MIN:
        return False
    return cell.last - cell.first_failure >= CLIENT_ROW_LASTING * policy.gray_window


def one_outage(cells: Iterable[Cell], policy: Detection, now: Instant) -> bool:
    """Return whether hardly anything passed from the first failure to the last (it is down, or was), or all is past."""
    answers = [answer for cell in cells for answer in cell.recent if answer[0] > now - policy.lossy_window]
    failures = [at for at, ok in answers if not ok]
    if not failures or max(failures) < now - policy.lossy_window / 3:
        return True
    first, last = min(failures), max(failures)
    between = [ok for at, ok in answers if first <= at <= last]
    return between.count(False) > OUTAGE_FAILING * len(between)


def lately(cells: Iterable[Cell], policy: Detection, now: Instant) -> tuple[int, int]:
    """Return how many answers came within the lossy window, and how many of them were failures."""
    answers = [ok for cell in cells for at, ok in cell.recent if at > now - policy.lossy_window]
    return len(answers), answers.count(False)
