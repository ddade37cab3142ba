"""What a step did, as one sentence: from its action and the facts of its receipt.

What this is not: the line around it (`lines`). A fact that a driver did not give is simply not said.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from evac.core.fence import rests_on_word
from evac.core.observation import Json
from evac.core.plan import Action, Step, Verb
from evac.core.run import Failure, Receipt
from evac.report.words import count, listed, size, span

Facts = Mapping[str, Json]


def done(step: Step, receipt: Receipt) -> str:
    """Return what a step's receipt says."""
    action, facts = step.action, receipt.facts
    where = f"{action.component} in {action.region}"
    match action.verb:
        case Verb.PREPARE:
            return f"{where} {'carries clients on' if action.args.get('serves') else 'is ready to be switched'}"
        case Verb.STOP:
            return f"{where} stopped {_how_stopped(facts)}{_at(facts)} (receipt {receipt.kind})"
        case Verb.REFUSE:
            waited = f", after {facts['waited_s']} s" if facts.get("waited_s") else ""
            return f"{where} refuses {action.args.get('old', 'the old primary')}{_at(facts)}{waited} ({receipt.kind})"
        case Verb.SWITCH_OFF:
            waited = f", {facts['waited_s']} s after the order" if facts.get("waited_s") else ""
            old = action.args.get("old", "the old")
            return f"{where} had {old}'s host switched off, as its device says{waited} ({receipt.kind})"
        case Verb.EXPIRE:
            last = f", last renewed {facts['waited_s']} s before" if facts.get("waited_s") else ""
            return f"{where} has the lease: {action.args.get('old', 'the old')}'s has run out{last} ({receipt.kind})"
        case Verb.CATCH_UP:
            source = f", the rest from {facts['from']}" if facts.get("from") else ""
            return f"{where} holds all that any standby has{_at(facts)}{source}"
        case Verb.PROMOTE:
            timeline = f", timeline {facts['timeline']}" if facts.get("timeline") else ""
            forced = f", forced by {person}" if (person := rests_on_word(action.args)) else ""
            return f"{where}, term {facts.get('term', action.term)}{timeline}{forced}"
        case Verb.FOLLOW:
            return f"{where} follows {action.args.get('primary', 'the new primary')}"
        case Verb.PROTECT:
            return f"{where} {_protection(facts or action.args)}"
        case Verb.SHIFT:
            return (
                f"{action.component} in {action.region}: {weights(facts.get('weights') or action.args.get('weights'))}"
            )
        case Verb.VERIFY:
            took = (
                f", {span(timedelta(seconds=float(t)))}" if isinstance(t := facts.get("took_s"), (int, float)) else ""
            )
            if serves := action.args.get("serves"):
                return f"a client's request by {action.region}'s door, served by {serves}: ok{took}"
            return f"write and read as a client, {where}: ok{took}"
        case Verb.REJOIN:
            return f"{where} {_rejoined(facts)}, follows {action.args.get('primary', 'the new primary')}"


def undone(step: Step) -> str:
    """Return what taking a step back did."""
    action = step.action
    return f"undone: {action.verb} of {action.component} in {action.region}"


def failed(step: Step, failure: Failure, reason: str, *, undo: bool, optional: bool) -> str:
    """Return how a try ended, and what that means for what happened."""
    action = step.action
    what = f"{'undoing ' if undo else ''}{action.verb} of {action.component} in {action.region}"
    meaning = {
        Failure.REJECTED: "refused, nothing happened",
        Failure.UNAVAILABLE: "not reached, nothing happened",
        Failure.INDETERMINATE: "may have happened, looked at next",
    }[failure]
    return f"{what} failed ({meaning}{', not required' if optional else ''}): {reason}"


def asked(action: Action) -> str:
    """Return what a step is to do, in a few words: for the plan's graph and table."""
    return f"{action.verb} {action.component}"


def weights(given: Json) -> str:
    """Return traffic weights: those who get some first."""
    if not isinstance(given, Mapping):
        return "weights set"
    ordered = sorted(given.items(), key=lambda item: (-_number(item[1]), item[0]))
    return ", ".join(f"{region} {_number(share):g} %" for region, share in ordered)


def _number(value: Json) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _at(facts: Facts) -> str:
    position = facts.get("position")
    return f" at byte {position:,}" if isinstance(position, int) else ""


def _how_stopped(facts: Facts) -> str:
    return "cleanly" if facts.get("clean") else "by force"


def _protection(facts: Facts) -> str:
    standbys = facts.get("standbys")
    acks = facts.get("acks")
    if not acks or not isinstance(standbys, (list, tuple)):
        return "acknowledges by itself: asynchronous"
    return f"waits for {acks} of {listed(str(s) for s in standbys)}"


def _rejoined(facts: Facts) -> str:
    method = {"rewind": "rewound", "clone": "copied anew", "follow": "taken as it was"}.get(str(facts.get("method")))
    return f"{method or 'rebuilt'}, {orphans(facts)}"


def orphans(facts: Facts) -> str:
    """Return what a rejoin receipt says of writes that only the old primary had."""
    found = facts.get("orphans")
    if not isinstance(found, int):
        return "orphaned writes: unknown"
    exact = "" if facts.get("orphans_exact", True) else "at least "
    lost = f" ({size(b)} of log)" if isinstance(b := facts.get("lost_bytes"), int) and b else ""
    kept = f", kept in {facts['orphans_file']}" if facts.get("orphans_file") else ""
    return f"{exact}{count(found, 'orphaned write')}{lost}{kept}"
