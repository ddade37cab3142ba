"""Opening a run: what it rests on is looked up, and its first entry made ready, to be written with its first orders.

What this is not: the write itself (`engine.executor`), or the journal (`engine.journal`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from evac.core.errors import Conflict, UnsafePlan
from evac.core.fence import FORCED
from evac.core.fold import apply
from evac.core.observation import Instant, Json
from evac.core.plan import Placement, Plan, Term
from evac.core.run import Opened, RunId
from evac.core.snapshot import Reply
from evac.engine import opener
from evac.engine.chain import digest, link
from evac.engine.codec import decode, encode, plan_hash
from evac.engine.journal import COUNTER, Journal, number
from evac.ports import VALUE_BYTES_MAX, Clock, Record, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A run that is about to be opened: its journal, of which nothing is written yet, and what its first write has to
    expect, put and delete beside the entries.
    """

    journal: Journal
    expect: Mapping[str, int]
    put: Mapping[str, bytes]
    delete: Collection[str]


async def prepare_run(
    plan: Plan,
    *,
    store: Store,
    clock: Clock,
    decided_by: str,
    symptom_at: Instant,
    decision: Mapping[str, Json],
    who: bytes,
    request: str | None = None,
) -> Opening:
    """Make ready to pin a plan as a run, at the group's next free term when its own was used. Nothing is written yet.

    A person's `request` is answered by the write that opens the run, so that it is carried out once, whoever dies in
    between. The write fails unless `who` is still the one who may open runs.

    Raises `Conflict` when that is another by now; `UnsafePlan` when another run of the group is under way, the group is
    not where the plan says, a promotion is to rest on a word of which no receipt is kept, or the plan is too large to
    keep; and `StoreUnavailable`.
    """
    for step in plan.steps:
        if step.action.args.get(FORCED):
            raise UnsafePlan((f"{step.id} is to rest on a word without a receipt: only older runs do; plan anew",))
    try:
        rests_on = await _grounds(plan, who, request, store=store, near=True)
    except (Conflict, UnsafePlan):  # the nearest copy may have been behind
        rests_on = await _grounds(plan, who, request, store=store, near=False)
    plan = at_term(plan, Term(max(plan.term, number(rests_on[f"terms/{plan.group}"]) + 1)))
    opened = Opened(
        run=RunId(str(number(rests_on[COUNTER]) + 1)),
        at=clock.now(),
        wall=clock.wall(),
        plan=plan,
        plan_hash=plan_hash(plan),
        decided_by=decided_by,
        symptom_at=symptom_at,
        decision=decision,
    )
    opening = _opening(opened, rests_on, request, store=store)
    if len(opening.journal.links[0]) > VALUE_BYTES_MAX:
        raise UnsafePlan((f"its {len(plan.steps)} steps are more than one record takes; divide group {plan.group}",))
    return opening


def _opening(opened: Opened, rests_on: Mapping[str, Record | None], request: str | None, *, store: Store) -> Opening:
    group, first = opened.plan.group, link(opened, before="")
    versions = {key: record.version if record else 0 for key, record in rests_on.items()}
    journal = Journal(
        store=store,
        run=apply(None, opened),
        placement=opened.plan.before,
        placement_version=versions.pop(f"placement/{group}"),
        term_version=versions.pop(f"terms/{group}"),
        position=0,
        head=digest(first),
        tail=[opened],
        links=[first],
    )
    put = {
        COUNTER: encode(int(opened.run)),
        f"terms/{group}": encode(opened.plan.term),
        f"active/{group}": opened.run.encode(),
    }
    if request is None:
        return Opening(journal=journal, expect=versions, put=put, delete=())
    answered = {**put, f"replies/{request}": encode(Reply(request=request, run=opened.run))}
    return Opening(journal=journal, expect=versions, put=answered, delete=(f"requests/{request}",))


async def _grounds(
    plan: Plan, who: bytes, request: str | None, *, store: Store, near: bool
) -> Mapping[str, Record | None]:
    """Return the records that opening a run rests on, by their keys. Raises `Conflict` and `UnsafePlan` when they speak
    against it.
    """
    terms, placement, active = (f"{what}/{plan.group}" for what in ("terms", "placement", "active"))
    keys = [terms, placement, active, COUNTER, opener.KEY, *([f"requests/{request}"] if request else [])]
    found = dict(zip(keys, await asyncio.gather(*[store.get(key, near=near) for key in keys]), strict=True))
    opener.look(found[opener.KEY], who)
    if (other := found[active]) is not None:
        raise UnsafePlan((f"run {other.value.decode()} of group {plan.group} is under way; wait for it",))
    if (place := found[placement]) is None or decode(place.value, Placement) != plan.before:
        raise UnsafePlan((f"group {plan.group} is no longer as this plan found it; plan anew",))
    if request and found[f"requests/{request}"] is None:
        raise UnsafePlan(("the request was taken back before it was begun",))
    return found


def at_term(plan: Plan, term: Term) -> Plan:
    """Return the same plan at another term."""
    steps = tuple(replace(s, action=replace(s.action, term=term)) for s in plan.steps)
    return replace(plan, term=term, steps=steps, after=replace(plan.after, term=term))
