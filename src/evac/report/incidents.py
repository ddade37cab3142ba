"""An incident in words: its class and severity, whom it hits, and what a person can do beside what evac does."""

from __future__ import annotations

from evac.core.incident import FailureClass, Incident, Severity
from evac.report.words import listed

_BY_HAND = {
    FailureClass.APPLICATION: "look at {services} in {region}: the host and its agent are there",
    FailureClass.INFRASTRUCTURE: "bring {region} back: what was left there becomes a standby by itself",
    FailureClass.PARTITION: "look at the network between {region} and those who do not get in",
    FailureClass.GRAY: "look at the network on the way to {region}, and at how loaded {services} there are",
    FailureClass.OBSERVER: "mend the network of {region}: until then what it sees does not count",
    FailureClass.AGENT: "start evac's agent in {region}, or mend the way to its host (evac check tries it)",
    FailureClass.PROVIDER: "ask the provider of {region}, which has lost all of its regions",
}


def incident_line(found: Incident) -> str:
    """Return what has failed, how bad it is, and whom it hits."""
    return f"{found.kind}, {found.severity}: {_hit(found)}"


def by_hand(found: Incident) -> str:
    """Return what a person can do."""
    return _BY_HAND[found.kind].format(region=found.region, services=listed(found.services))


def _hit(found: Incident) -> str:
    if found.kind is FailureClass.AGENT:
        return "no clients yet; evac hears nothing from there"
    if found.unplaced:
        return f"where the primaries of {listed(found.unplaced)} are is not known yet"
    if not found.clients_of:
        fewer = found.severity is Severity.MAJOR
        return f"no clients; one region less to go to for {listed(found.services)}" if fewer else "no clients"
    carried = "" if found.requests is None else f" ({found.requests:.0f} requests a second)"
    how = "not served" if found.severity is Severity.CRITICAL else "served badly"
    return f"clients of {listed(found.clients_of)}{carried} are {how}"
