"""Orders that come late: what members were ordered is kept, and delivered once more when its terms are over.

Intuition: a network may hold a message up for as long as it likes. What protects from it is the term that each member
was told last, so every late order must be refused (S6).
"""

from __future__ import annotations

from collections import Counter
from functools import partial

from evac.core.errors import EvacError
from evac.core.plan import Action
from evac.sim.members import Member
from evac.sim.trace import Trace

KEPT_MAX = 500
"""So many orders are kept, to be delivered late."""


class LateOrders:
    """What the members of a simulation were ordered, and what became of it when it came late."""

    def __init__(self, trace: Trace) -> None:
        self.came: Counter[str] = Counter()
        """How many were `refused`, and how many `obeyed`."""
        self._trace = trace
        self._given: list[tuple[Member, Action, bool]] = []

    def keep(self, member: Member) -> None:
        """Keep what this member is ordered from now on."""
        member.given = partial(self._note, member)

    async def deliver(self) -> None:
        """Let what was ordered in terms that are over reach the members now."""
        for member, action, undo in list(self._given):
            if action.term >= member.node.term:
                continue
            what = f"{member.node.where}: {'undo of ' if undo else ''}{action.verb}, term {action.term}"
            try:
                await (member.undo(action) if undo else member.do(action))
            except EvacError as refusal:
                self.came["refused"] += 1
                self._trace.tell("late", f"{what}: {refusal}")
            else:
                self.came["obeyed"] += 1
                self._trace.tell("late", f"{what}: obeyed")

    def _note(self, member: Member, action: Action, undo: bool) -> None:
        if len(self._given) < KEPT_MAX:
            self._given.append((member, action, undo))
