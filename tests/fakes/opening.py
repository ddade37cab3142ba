"""A run that was opened and not gone on with: nothing is ordered yet."""

from __future__ import annotations

from collections.abc import Mapping

from evac.core.observation import Instant, Json
from evac.core.plan import Plan
from evac.core.run import RunId
from evac.engine import opener
from evac.engine.forcing import take_word
from evac.engine.opening import prepare_run
from evac.engine.signing import Signer
from evac.ports import Clock, Store

LEADER = b"a leader"
"""Who may open runs."""


async def open_run(
    plan: Plan,
    *,
    store: Store,
    clock: Clock,
    decided_by: str,
    symptom_at: Instant,
    decision: Mapping[str, Json],
    request: str | None = None,
    signer: Signer | None = None,
) -> RunId:
    """Write a run's first entry alone, with the word that its plan rests on. Raises like `prepare_run`, and
    `Conflict`.
    """
    if await store.get(opener.KEY, near=True) is None:
        await opener.claim(store, LEADER)
    opening = await prepare_run(
        plan,
        store=store,
        clock=clock,
        decided_by=decided_by,
        symptom_at=symptom_at,
        decision=decision,
        who=LEADER,
        request=request,
    )
    take_word(opening.journal, clock=clock, by="a leader", signer=signer)
    await opening.journal.write(expect=opening.expect, put=opening.put, delete=opening.delete)
    return opening.journal.run.id
