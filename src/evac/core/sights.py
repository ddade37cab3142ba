"""What each vantage point knows of each target, kept by line of sight.

Intuition: a large estate has hundreds of thousands of targets, and hardly a hundred ways in which a region looks at a
region. So the way is a key once, and below it services are keys by themselves: no key has to be made for each target,
one region's view changes only its own lines, and whoever judges regions takes a line as a whole.

As a mapping it is that of each sight; sights are made when somebody asks for them one by one.

What this is not: what is known (`detector.Cell`), or a tree of any depth: there are two levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

from evac.core.estate import RegionId, ServiceId
from evac.core.layered import updated

V = TypeVar("V")


class Line(NamedTuple):
    """A line of sight: from where to where, and whether as a client looks."""

    vantage: RegionId
    region: RegionId
    as_client: bool

    def at(self, service: ServiceId) -> Sight:
        """Return the sight of a service along this line."""
        return Sight(self.vantage, service, self.region, self.as_client)


class Sight(NamedTuple):
    """Who looks at what."""

    vantage: RegionId
    service: ServiceId
    region: RegionId
    as_client: bool

    @property
    def line(self) -> Line:
        """Return along which line it is seen."""
        return Line(self.vantage, self.region, self.as_client)


class Sights(Mapping[Sight, V], Generic[V]):
    """A map by sight, which never changes; the next one shares all lines along which nothing has."""

    __slots__ = ("_lines",)

    def __init__(self, lines: Mapping[Line, Mapping[ServiceId, V]] | None = None) -> None:
        """Take what is known by line and service, none of them empty, which nobody writes from now on."""
        self._lines = lines or {}

    def lines(self) -> Mapping[Line, Mapping[ServiceId, V]]:
        """Return what is known, by line and service."""
        return self._lines

    def along(self, line: Line) -> Mapping[ServiceId, V]:
        """Return what is known along one line."""
        return self._lines.get(line, {})

    def after(self, changes: Mapping[Line, dict[ServiceId, V]]) -> Sights[V]:
        """Return the map with these changes, which nobody writes from now on. This one stays what it is."""
        return Sights({**self._lines, **{line: updated(self.along(line), some) for line, some in changes.items()}})

    def __getitem__(self, sight: Sight) -> V:
        return self._lines[sight.line][sight.service]

    def __iter__(self) -> Iterator[Sight]:
        return (line.at(service) for line, known in self._lines.items() for service in known)

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __repr__(self) -> str:
        return f"Sights({dict(self)})"


def sights(known: Mapping[Sight, V]) -> Sights[V]:
    """Return a plain map by sight as one that is kept by line."""
    lines: dict[Line, dict[ServiceId, V]] = {}
    for sight, value in known.items():
        lines.setdefault(sight.line, {})[sight.service] = value
    return Sights(lines)
