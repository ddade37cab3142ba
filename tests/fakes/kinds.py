"""Drivers and probes with settings of a fixed, small form, for whoever reads estates without opening anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from evac.core.errors import Rejected
from evac.core.estate import Probe
from evac.core.plan import Verb
from evac.drivers.settings import Duration, Secret, Settings
from evac.ports import Driver, DriverKind, Place, ProbeKind, Prober, Support, Surroundings


class DatabaseSettings(Settings):
    """A member that holds state."""

    host: str
    """Host name or address."""
    port: int = 5432
    """TCP port."""
    user: str = "evac"
    """Role."""
    password: Secret | None = None
    """Its password."""
    connect_timeout: Duration = timedelta(seconds=2)
    """Time to connect."""


class BalancerSettings(Settings):
    """A member that carries traffic."""

    host: str
    """Host name or address."""
    port: int = 9999
    """TCP port."""
    backend: str
    """The backend."""


class LookSettings(Settings):
    """What a probe asks."""

    host: str
    """Host name or address."""
    port: int
    """TCP port."""
    path: str = "/"
    """Path."""


@dataclass(slots=True, kw_only=True)
class FormKind:
    """A driver that can be read of, and never opened."""

    name: str
    settings: type[Any]
    support: Support

    async def open(self, settings: Any, surroundings: Surroundings) -> Driver:
        raise Rejected(f"{self.name} is a form only")


@dataclass(slots=True, kw_only=True)
class FormProbeKind:
    """A probe that can be read of, and never opened."""

    name: str
    settings: type[Any]

    async def open(self, probe: Probe, place: Place) -> Prober:
        raise Rejected(f"{self.name} is a form only")


def _kind(name: str, settings: type[Any], *verbs: Verb, watched: bool = False) -> FormKind:
    return FormKind(
        name=name,
        settings=settings,
        support=Support(verbs=frozenset(verbs), undoable=frozenset(), verified_on="paper", watched=watched),
    )


DRIVERS: Mapping[str, DriverKind] = {
    "database": _kind("database", DatabaseSettings, Verb.PROMOTE, Verb.REFUSE, watched=True),
    "balancer": _kind("balancer", BalancerSettings, Verb.SHIFT),
}
PROBES: Mapping[str, ProbeKind] = {"look": FormProbeKind(name="look", settings=LookSettings)}
