"""Triggers for tests: with expressions that are really read, and standing as a test wants them to."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from evac.config.conditions import Compiled, Declared, compiled
from evac.core.estate import Estate, GroupId, Purpose
from evac.core.kinds import ServiceKind
from evac.core.observation import Instant
from evac.core.trigger import Action, Scope, Severity, Trigger
from evac.core.triggers import Standing
from evac.core.verdict import Evidence
from evac.sim.estates import EAST, EUROPE, GROUP, WEST


def declared(estate: Estate) -> Declared:
    """Return the names that an estate gives its parts."""
    state = (c.id for c in estate.components.values() if c.purpose is Purpose.STATE)
    return Declared(
        parts={Scope.SERVICE: tuple(estate.services), Scope.KIND: tuple(ServiceKind), Scope.COMPONENT: tuple(state)}
    )


def trigger(
    estate: Estate,
    when: str,
    *,
    name: str = "watched",
    lasting: float = 10.0,
    severity: Severity = Severity.WARNING,
    action: Action = Action.FAILOVER,
    automatic: bool = True,
    rto: timedelta | None = None,
    says: str = "",
    groups: tuple[GroupId, ...] | None = None,
) -> Trigger:
    """Return a trigger that looks after all groups, wherever they are."""
    found = compiled(when, declared(estate))
    assert isinstance(found, Compiled), found
    return Trigger(
        name=name,
        when=when,
        condition=found.condition,
        reads=found.reads,
        lasting=timedelta(seconds=lasting),
        severity=severity,
        action=action,
        automatic=automatic,
        groups=frozenset(estate.home if groups is None else groups),
        regions=frozenset(estate.regions),
        rto=rto,
        says=says,
    )


SIGHTS = tuple(Evidence(vantage=v, view="true", votes=True, why="region.availability 0.4") for v in (WEST, EUROPE))


def standing(action: Action = Action.FAILOVER, *, at: Instant, **changes: Any) -> Standing:
    """Return how a trigger stands that fires at this moment, after two minutes; or with some of it changed."""
    fires = Standing(
        trigger="half-down",
        group=GROUP,
        region=EAST,
        when="region.availability < 0.5",
        action=action,
        severity=Severity.WARNING,
        automatic=True,
        lasting=timedelta(seconds=120),
        rto=timedelta(minutes=5),
        says="half of it is down",
        true=True,
        since=at - timedelta(seconds=120),
        held=timedelta(seconds=120),
        true_at=at - timedelta(seconds=120),
        fired=True,
        sights=SIGHTS,
    )
    return replace(fires, **changes)
