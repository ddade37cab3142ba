"""Which drivers, probes and observers are installed, found by their entry points.

Intuition: a driver is a package that names itself in its metadata (`evac.drivers`, `evac.probes`,
`evac.observers`); nothing is registered when modules are imported, and a third party's driver is found the same way as
evac's own. A kind is imported when it is asked for, so that an estate without Valkey never loads a Valkey client.

What this is not: opening drivers (`ports.DriverKind.open`), which the daemon does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from evac.core.errors import EvacError
from evac.ports import DriverKind, ObserverKind, ProbeKind

_Kind = TypeVar("_Kind")


class InstalledKinds(Mapping[str, _Kind], Generic[_Kind]):
    """Kinds by name; each is imported by `[name]`, which raises `EvacError` when its package cannot be imported."""

    def __init__(self, found: Mapping[str, EntryPoint]) -> None:
        self._found = dict(found)

    def __getitem__(self, name: str) -> _Kind:
        point = self._found[name]
        try:
            kind: _Kind = point.load()
        except (ImportError, AttributeError) as error:
            package = point.dist.name if point.dist else "an installed package"
            raise EvacError(
                f"{point.group} {name!r} of {package} cannot be loaded: {error}; reinstall {package}"
            ) from error
        return kind

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._found))

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, name: object) -> bool:
        return name in self._found


def driver_kinds() -> Mapping[str, DriverKind]:
    """Return the installed drivers by the name an estate gives them (`driver: postgresql`)."""
    return InstalledKinds({point.name: point for point in entry_points(group="evac.drivers")})


def probe_kinds() -> Mapping[str, ProbeKind]:
    """Return the installed probes by the name an estate gives them (`kind: http`)."""
    return InstalledKinds({point.name: point for point in entry_points(group="evac.probes")})


def observer_kinds() -> Mapping[str, ObserverKind]:
    """Return the installed observers by the name an estate gives them (`kind: prometheus`)."""
    return InstalledKinds({point.name: point for point in entry_points(group="evac.observers")})
