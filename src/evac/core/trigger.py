"""A trigger: a reason to act, or to call a person, that an operator adds to what evac detects by itself.

Intuition: an expression over facts, how long it must have been true, and what is to be done then. That it is true never
moves anything by itself: it asks for a decision, which is taken like any other.

What this is not: how an expression is read (`evac.config.conditions`), the facts (`facts`), whether it is true
(`triggers`), or what is done about it (`urging`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from evac.core.estate import GroupId, RegionId

Value: TypeAlias = bool | int | float | timedelta
"""What a fact is."""


class Scope(StrEnum):
    """What a fact is of, as the first part of its name."""

    REGION = "region"
    SERVICE = "services"
    KIND = "kinds"
    COMPONENT = "components"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A fact by its name: `fact` of `of`, a service, a kind or a component; empty for the region."""

    scope: Scope
    of: str
    fact: str
    written: str
    """As expressions write it: `components.orders_db.lag`."""


class Condition(Protocol):
    """An expression that was read and found in order."""

    def __call__(self, facts: Mapping[str, Value]) -> bool | str:
        """Return whether it is true of these facts, by the names they are written with; or why nobody can tell."""


class Action(StrEnum):
    """What a trigger asks for."""

    FAILOVER = "failover"
    SHIFT = "shift"
    CALL = "call"


class Severity(StrEnum):
    """How bad it is, in an operator's words: what a trigger says of itself, and the order in which they are heard."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What is declared. `lasting` is how long `condition` must have been true, `rto` within which time of its first
    being true the group is to be served again.

    One that is not `automatic` asks a person. It looks after `groups`, while their primaries are in one of `regions`.
    """

    name: str
    when: str
    """The expression, as it was written."""
    condition: Condition
    reads: tuple[Named, ...]
    lasting: timedelta
    severity: Severity
    action: Action
    automatic: bool
    groups: frozenset[GroupId]
    regions: frozenset[RegionId]
    rto: timedelta | None = None
    says: str = ""
    """What a person is told who is called."""
