"""What one run of the matrix showed, and which promises it broke: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evac.core.plan import MOVES, RunKind
from evac.core.run import Outcome
from evac.lab.checker import Verdict
from evac.lab.matrix.rows import Expected, Script

HARNESS = "harness"
"""The outcome of a run that could not be played; its note says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one of evac's runs ended; None: it had not."""

    id: str
    kind: RunKind
    outcome: Outcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All a run of the matrix is judged by. The times are the clients' of orders, in seconds; None: never again."""

    runs: tuple[Ended, ...]
    called: bool
    """Whether a person was called while the fault was on."""
    paged: bool
    """Whether one is being called in the end."""
    whole: bool
    """Whether all was well again after the heal."""
    verdicts: Mapping[str, Verdict]
    """By store."""
    orphans_reported: int
    rto_s: float | None
    write_gap_s: float | None

    @property
    def outcome(self) -> str:
        """Say how it ended, by evac's last move."""
        moves = [run for run in self.runs if run.kind in MOVES]
        if moves:
            return str(moves[-1].outcome or "unsettled")
        return "called" if self.called else "stayed"


def violations(expected: Expected, seen: Seen) -> tuple[str, ...]:
    """Return what was promised and not kept, in words."""
    found = [word for store, verdict in seen.verdicts.items() for word in _writes(store, verdict)]
    for run in seen.runs:
        if run.outcome is None:
            found.append(f"run {run.id} ({run.kind}) has not ended")
        elif run.outcome is Outcome.STUCK and not seen.paged and not _begun_anew(run, seen.runs):
            found.append(f"run {run.id} ({run.kind}) is stuck, and nobody was called")
    if not seen.whole and not seen.paged:
        found.append("not whole again after the heal, and nobody was called (L6)")
    return (*found, *_conduct(expected, seen))


def _begun_anew(stuck: Ended, runs: Sequence[Ended]) -> bool:
    """Return whether a rebuild that got stuck, on a full disk say, was begun anew by evac itself, and completed. A move
    that is stuck waits for a person.
    """
    later = [run.outcome for run in runs[runs.index(stuck) + 1 :] if run.kind is RunKind.REJOIN]
    return stuck.kind is RunKind.REJOIN and Outcome.COMPLETED in later


def _writes(store: str, verdict: Verdict) -> list[str]:
    """Return which promises on writes were broken. Valkey may lose what it acknowledged: it does so by design, within
    the bound that its settings give."""
    found = []
    if verdict.two_owners:
        found.append(f"{len(verdict.two_owners)} writes of {store} acknowledged by a second owner (S1)")
    if verdict.doubled or verdict.phantom:
        found.append(f"{store}: {len(verdict.doubled)} doubled, {len(verdict.phantom)} phantoms")
    if store != "orders":
        return found
    if verdict.orphans is None and verdict.lost:
        found.append(f"{len(verdict.lost)} acknowledged writes lost (S4)")
    if verdict.orphans and verdict.orphans.unreported:
        found.append(f"{len(verdict.orphans.unreported)} lost writes not in the orphan report (S4)")
    if verdict.orphans and verdict.orphans.false:
        found.append(f"{len(verdict.orphans.false)} writes wrongly in the orphan report")
    return found


def _conduct(expected: Expected, seen: Seen) -> list[str]:
    """Return what evac did that it should not have, or the other way round."""
    moved = [run for run in seen.runs if run.kind in MOVES]
    match expected:
        case Expected.MOVES:
            done = any(run.outcome is Outcome.COMPLETED for run in moved)
            return [] if done else ["it had to be moved, and no move completed (L1)"]
        case Expected.STAYS:
            needless = [run for run in seen.runs if run.kind in MOVES | {RunKind.SHIFT}]
            return [f"nothing had to be moved, and run {run.id} is a {run.kind} (L4)" for run in needless]
        case Expected.CALLS:
            needless = [run for run in moved if run.outcome is not Outcome.ROLLED_BACK]
            found = [f"it had to stay, as nothing could be fenced, and run {run.id} moved it" for run in needless]
            return found if seen.called else [*found, "nothing could be moved, and nobody was called (L2)"]
        case Expected.CLEAR:
            return []


def as_json(script: Script, seen: Seen, *, version: str, took_s: float) -> dict[str, Any]:
    """Return a run as `build/matrix.json` has it."""
    orders, others = seen.verdicts["orders"], [v for store, v in seen.verdicts.items() if store != "orders"]
    return {
        **_told(script, version=version, took_s=took_s),
        "outcome": seen.outcome,
        "violations": list(violations(script.row.expected, seen)),
        "rto_s": None if seen.rto_s is None else round(seen.rto_s, 3),
        "write_gap_s": None if seen.write_gap_s is None else round(seen.write_gap_s, 3),
        "acknowledged": orders.acknowledged,
        "lost_acked": len(orders.lost),
        "orphans_reported": seen.orphans_reported,
        "orphans_unreported": len(orders.orphans.unreported) if orders.orphans else 0,
        "dual_primary": sum(len(verdict.two_owners) for verdict in seen.verdicts.values()),
        "cache_lost_acked": sum(len(verdict.lost) for verdict in others),
        "evac_runs": [f"{run.kind} {run.outcome or 'unsettled'}" for run in seen.runs],
        "called": seen.called,
        "whole": seen.whole,
        "note": "",
    }


def broken_harness(script: Script, reason: str, *, version: str, took_s: float) -> dict[str, Any]:
    """Return a run that could not be played, as `build/matrix.json` has it."""
    figures = ("rto_s", "write_gap_s", "acknowledged", "lost_acked", "orphans_reported", "dual_primary")
    return {
        **_told(script, version=version, took_s=took_s),
        "outcome": HARNESS,
        "violations": [],
        **dict.fromkeys(figures),
        "note": reason,
    }


def _told(script: Script, *, version: str, took_s: float) -> dict[str, Any]:
    row = script.row
    return {
        "name": row.name,
        "fault": row.hazard.name,
        "mode": row.mode,
        "form": row.form,
        "seed": script.seed,
        "version": version,
        "script": str(script),
        "expected": str(row.expected),
        "took_s": round(took_s, 1),
    }
