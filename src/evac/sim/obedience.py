"""How what is modelled obeys its orders, and what the watch is told of that.

What this is not: the carrying out (`members`, `routers`).
"""

from __future__ import annotations

from dataclasses import dataclass

from evac.core.plan import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Obedience:
    """How members take orders. A planted bug has one of these off."""

    looks_at_the_term: bool = True
    knows_what_is_done: bool = True
    undoes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a member changed, by order of which action; `seen` is the highest term that it had been told before, `anew`
    says that all but the term was so already.
    """

    action: Action
    undo: bool
    seen: int
    anew: bool
