"""An incident in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evac.core.incident import FailureClass, Incident, Severity
from evac.report.incidents import by_hand, incident_line
from evac.sim.estates import EAST, ORDERS, SHOP

FOUND = Incident(
    region=EAST,
    kind=FailureClass.INFRASTRUCTURE,
    severity=Severity.CRITICAL,
    services=(ORDERS, SHOP),
    clients_of=(SHOP,),
    requests=41.6,
)


@pytest.mark.parametrize(
    ("severity", "clients_of", "requests", "said"),
    [
        (Severity.CRITICAL, (SHOP,), 41.6, "clients of shop (42 requests a second) are not served"),
        (Severity.MAJOR, (SHOP,), None, "clients of shop are served badly"),
        (Severity.MAJOR, (), None, "no clients; one region less to go to for orders and shop"),
        (Severity.MINOR, (), None, "no clients"),
    ],
)
def test_whom_it_hits(severity: Severity, clients_of: tuple[str, ...], requests: float | None, said: str) -> None:
    found = Incident(
        region=EAST,
        kind=FOUND.kind,
        severity=severity,
        services=FOUND.services,
        clients_of=tuple(s for s in (ORDERS, SHOP) if s in clients_of),
        requests=requests,
    )
    assert incident_line(found) == f"infrastructure, {severity}: {said}"


def test_what_nobody_knows_is_said() -> None:
    assert incident_line(replace(FOUND, unplaced=(SHOP,))).endswith("where the primaries of shop are is not known yet")
    away = replace(FOUND, kind=FailureClass.AGENT, severity=Severity.MINOR)
    assert incident_line(away) == "agent away, minor: no clients yet; evac hears nothing from there"


@pytest.mark.parametrize("kind", FailureClass)
def test_every_class_has_something_that_a_person_can_do(kind: FailureClass) -> None:
    found = Incident(region=EAST, kind=kind, severity=Severity.MAJOR, services=(ORDERS,), clients_of=(), requests=None)
    assert "us-east-1" in by_hand(found)
