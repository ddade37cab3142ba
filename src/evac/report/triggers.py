"""Triggers in words: what each would do, and how it stands.

What this is not: the decision that one led to (`lines`).
"""

from __future__ import annotations

from collections.abc import Iterable

from evac.core.observation import Instant
from evac.core.trigger import Action, Trigger
from evac.core.triggers import Standing
from evac.report.words import listed, span

_DOES = {Action.FAILOVER: "moves the primaries", Action.SHIFT: "sends clients in by another door"}


def declared(trigger: Trigger) -> str:
    """Return what a trigger looks at and would do."""
    after = listed(sorted(trigger.groups)) if trigger.groups else "nothing"
    rto = f", RTO {span(trigger.rto)}" if trigger.rto else ""
    return (
        f"{trigger.when}, for {span(trigger.lasting)}: {_does(trigger.action, automatic=trigger.automatic)}"
        f" ({trigger.severity}{rto}); looks after {after}"
    )


def _does(action: Action, *, automatic: bool) -> str:
    if action is Action.CALL:
        return "calls a person"
    return _DOES[action] if automatic else f"asks a person, then {_DOES[action]}"


def standing_lines(standings: Iterable[Standing], *, at: Instant) -> list[str]:
    """Return how triggers stand, a line each, and for what is not plainly false what each vantage point says."""
    said: list[str] = []
    for standing in standings:
        said.append(f"{standing.trigger} for {standing.group}: {how(standing, at=at)}")
        if standing.true is not False:
            said += [f"  {e.vantage} {e.view}{'' if e.votes else ' (no vote)'}: {e.why}" for e in standing.sights]
    return said


def how(standing: Standing, *, at: Instant) -> str:
    """Return whether a trigger is true, since when, and what comes of it when."""
    since = f"for {span(at - standing.since)}"
    does = _does(standing.action, automatic=standing.automatic)
    counted = f"counted {span(standing.held)} of {span(standing.lasting)}"
    match standing.true:
        case False:
            return f"false {since}"
        case None:
            return f"unknown {since}, neither fires nor clears; {counted}"
        case True:
            return f"true {since}; {counted}: " + (
                f"fired, {does}" if standing.acts else f"{does} in {span(standing.left)}"
            )
