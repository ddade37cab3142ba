"""Taking a person's word into a run's journal, with the entry that opens it, so that a promotion may rest on it.

What this is not: when a word counts (`core.fold`, `core.fence`).
"""

from __future__ import annotations

from collections.abc import Sequence

from evac.core.fence import WORD
from evac.core.run import Forced
from evac.engine.journal import Journal
from evac.engine.signing import Signer, vouched
from evac.ports import Clock


def take_word(
    journal: Journal,
    *,
    clock: Clock,
    by: str,
    signer: Signer | None,
    reason: str = "",
    told: Sequence[str] = (),
    risks: Sequence[str] = (),
) -> None:
    """Note the word that a run's plan rests on, signed by the leader `by`; nothing if it rests on nobody's.

    To be called before anything else is noted: a later word does not count.
    """
    actions = [s.action for s in journal.run.plan.steps if s.action.args.get(WORD)]
    forced = {a.component: str(a.args[WORD]) for a in actions}
    if not forced:
        return
    (person,) = set(forced.values())
    word = Forced(
        at=clock.now(),
        wall=clock.wall(),
        person=person,
        components=tuple(forced),
        reason=reason,
        told=tuple(told),
        risks=tuple(risks),
    )
    if signer is not None:
        word = vouched(word, signer, run=journal.run.id, before=journal.head, by=by)
    journal.note(word)
