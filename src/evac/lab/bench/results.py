"""From single trials to the lines of the table: pure.

A trial in which nothing recovered has no figure; it is counted as such and fails its case, but does not enter the
median.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from evac.lab.bench.cases import Case
from evac.lab.checker import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one run of a scenario showed about one store. `note` says what a person should know, empty if nothing."""

    rto_s: float | None
    write_gap_s: float | None
    verdict: Verdict
    phases_s: Mapping[str, float] = field(default_factory=dict)
    orphans_reported: int = 0
    outcome: str = ""
    """How evac says its run ended."""
    rejoined: bool = False
    """Whether the old primary was a standby again before the trial ended."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One case's line. `failures` says in words what was not reached; empty: all was."""

    case: Case
    trials: tuple[Trial, ...]
    failures: tuple[str, ...]
    errors: tuple[str, ...] = ()
    """Why further trials could not be made."""

    def figure(self, name: str) -> Mapping[str, float] | None:
        """Return the spread of a figure over the trials that have it; None if none has."""
        return spread([value for trial in self.trials if (value := getattr(trial, name)) is not None])


def spread(values: Sequence[float]) -> Mapping[str, float] | None:
    """Return median, smallest and largest, to the millisecond."""
    if not values:
        return None
    return {"median": round(median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def phases(trials: Sequence[Trial]) -> Mapping[str, float]:
    """Return each phase's median over the trials that had it."""
    names = dict.fromkeys(name for trial in trials for name in trial.phases_s)
    return {n: round(median(t.phases_s[n] for t in trials if n in t.phases_s), 3) for n in names}


def conclude(case: Case, trials: Sequence[Trial], errors: Sequence[str] = ()) -> Result:
    """Hold a case's trials to what the case has to reach."""
    failures = []
    without = sum(getattr(trial, case.figure) is None for trial in trials)
    if without:
        failures.append(f"{without} of {len(trials)} never recovered")
    values = spread([value for trial in trials if (value := getattr(trial, case.figure)) is not None])
    if values and case.median_max_s is not None and values["median"] > case.median_max_s:
        failures.append(f"median {values['median']:.2f} s is over {case.median_max_s:g} s")
    broken = sum(not _kept(case, trial.verdict) for trial in trials)
    if broken:
        failures.append(f"{broken} of {len(trials)} broke a promise")
    if errors or not trials:
        failures.append(f"{len(errors)} of {len(errors) + len(trials)} trials could not be made")
    return Result(case=case, trials=tuple(trials), failures=tuple(failures), errors=tuple(errors))


def _kept(case: Case, verdict: Verdict) -> bool:
    """Return whether what the case promises was kept: where a person forces the move, not that there is one owner."""
    return (replace(verdict, two_owners=()) if case.scenario.forced else verdict).kept


def as_json(result: Result) -> dict[str, Any]:
    """Return a case as `build/bench.json` has it."""
    trials = result.trials
    verdicts = [trial.verdict for trial in trials]
    reports = [verdict.orphans for verdict in verdicts if verdict.orphans is not None]
    return {
        "name": result.case.name,
        "n": len(trials),
        "rto_s": result.figure("rto_s"),
        "write_gap_s": result.figure("write_gap_s"),
        "phases_s": dict(phases(trials)),
        "lost_acked": sum(len(verdict.lost) for verdict in verdicts),
        "orphans_reported": sum(trial.orphans_reported for trial in trials),
        "orphans_unreported": sum(len(report.unreported) for report in reports),
        "orphans_false": sum(len(report.false) for report in reports),
        "dual_primary": sum(len(verdict.two_owners) for verdict in verdicts),
        "doubled": sum(len(verdict.doubled) for verdict in verdicts),
        "phantom": sum(len(verdict.phantom) for verdict in verdicts),
        "acknowledged": sum(verdict.acknowledged for verdict in verdicts),
        "unknown": sum(verdict.unknown for verdict in verdicts),
        "rejoined": sum(trial.rejoined for trial in trials),
        "outcomes": [trial.outcome for trial in trials],
        "median_max_s": result.case.median_max_s,
        "because": result.case.because,
        "met": not result.failures,
        "failures": list(result.failures),
        "errors": list(result.errors),
        "notes": [trial.note for trial in trials if trial.note],
    }
