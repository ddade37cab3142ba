"""The triggers that ship, for whoever names them: an estate says `region-mostly-down: {}`, or changes a part of one.

Intuition: evac itself finds what fails within seconds and needs no trigger for it. These are for what it leaves alone,
and they wait until it had every chance.

What this is not: what holds without being named. A trigger is one more way to move, and that is an operator's choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from evac.config.schema import TriggerSection
from evac.core.trigger import Action, Severity


def _shipped(when: str, *, lasting: float, severity: Severity, action: Action, rto: float, says: str) -> TriggerSection:
    return TriggerSection.model_validate(
        {
            "when": when,
            "for": timedelta(seconds=lasting),
            "severity": severity,
            "action": action,
            "automatic": True,
            "rto": timedelta(seconds=rto),
            "says": says,
        }
    )


SHIPPED: Mapping[str, TriggerSection] = {
    "database-unreachable": _shipped(
        "!kinds.database.reachable",
        lasting=30,
        severity=Severity.CRITICAL,
        action=Action.FAILOVER,
        rto=300,
        says="a database has not been reached for 30 s",
    ),
    "api-failing": _shipped(
        "!kinds.api.reachable",
        lasting=60,
        severity=Severity.CRITICAL,
        action=Action.FAILOVER,
        rto=300,
        says="an API has failed for 60 s",
    ),
    "region-mostly-down": _shipped(
        "region.availability < 0.5",
        lasting=120,
        severity=Severity.CRITICAL,
        action=Action.FAILOVER,
        rto=300,
        says="less than half of the region's services have been up for 120 s",
    ),
    "slow-answers": _shipped(
        'kinds.api.p95 > duration("5s")',
        lasting=300,
        severity=Severity.WARNING,
        action=Action.SHIFT,
        rto=600,
        says="one answer in twenty has taken longer than 5 s, for 300 s",
    ),
}


def whole(name: str, said: TriggerSection) -> TriggerSection:
    """Return a trigger with what is left out as it ships, if it is named as one of those."""
    shipped = SHIPPED.get(name)
    if shipped is None:
        return said
    return shipped.model_copy(update={field: getattr(said, field) for field in said.model_fields_set})
