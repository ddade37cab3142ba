"""The proof that a promotion needs: nobody can acknowledge a write on the old primary any more (S3).

Intuition: either the old primary itself is out (stopped, its lease expired, a device switched it off), or the standbys
it must wait for are gone: of n with k acknowledgements, n - k + 1 refuse it durably. While a change of the synchronous
set runs there are two sets, and both must be starved (`docs/design/safety.md` 2 and 3).

Where an acknowledged write is held by k standbys, only the refusals also prove that none is lost: a primary that was
killed says nothing about what those hold that were not asked. A promotion that is to keep all has the argument
`QUORUM` and is opened by nothing else.

What this is not: how a fence is brought about (`planning` chooses it, drivers do it).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from evac.core.estate import ComponentId, RegionId
from evac.core.observation import Json
from evac.core.plan import Plan, Step, StepId, Verb

OUT = frozenset({"stopped", "expired", "device"})
"""Receipts of the old primary itself, each enough alone against a second writer."""
FROM_AFAR = frozenset({Verb.SWITCH_OFF, Verb.EXPIRE})
"""The fences that need nothing of the old primary's region. They take long, and may yet be refused."""
WORD = "word"
"""The argument of a promotion that rests on a person's word, and who that is."""
FORCED = "forced"
"""The same in the plan of an evac that kept no receipt of the word. A run that has it can be read, and is held to what
was the rule then; none is opened with it any more (`engine.journal`).
"""
QUORUM = "quorum"
"""The argument of a promotion that needs the refusals, whatever became of the old primary."""


def unfenced(plan: Plan, promotion: Step, receipts: Mapping[StepId, str], *, word: Collection[ComponentId] = ()) -> str:
    """Return why a promotion is not allowed yet, empty if it is. `receipts` gives the kind of each receipt so far, and
    `word` the components that a person's word, a receipt of the kind forced, is in the journal for.
    """
    component = promotion.action.component
    if promotion.action.args.get(FORCED):
        return ""
    if person := promotion.action.args.get(WORD):
        return "" if component in word else f"the word of {person}, which it is to rest on, is not in the journal"
    given = [s for s in plan.graph.of[component] if s.id in receipts]
    if not promotion.action.args.get(QUORUM) and any(_of(s) == plan.source and receipts[s.id] in OUT for s in given):
        return ""
    sets = plan.before.sync.get(component, ())
    if not sets:
        return f"nothing proves that {component} in {plan.source} has stopped"
    refusing = {s.action.region for s in given if receipts[s.id] == "starved"}
    for sync in sets:
        have = refusing.intersection(sync.standbys)
        if len(have) < sync.refusals_needed:
            return (
                f"{component} in {plan.source} is not starved: {len(have)} of {', '.join(sync.standbys)} refuse it,"
                f" {sync.refusals_needed} must"
            )
    return ""


def rests_on_word(args: Mapping[str, Json]) -> str:
    """Return the person whose word a promotion with these arguments rests on; empty if it needs none."""
    return str(args.get(WORD) or args.get(FORCED) or "")


def _of(step: Step) -> RegionId:
    """The region whose member a fence's receipt is about: not the one that waited for a lease, or asked a device."""
    return RegionId(str(step.action.args["old"])) if step.action.verb in FROM_AFAR else step.action.region
