"""What a rule looks at, and what it yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from evac.config.groups import groups
from evac.config.members import Members
from evac.config.schema import ComponentSection, EstateFile
from evac.config.source import Document, KeyPath
from evac.core.estate import ComponentId, Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Something that may not be (or, as a warning, that a person should know)."""

    path: KeyPath
    reason: str
    warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The file, its members' settings, its groups, and the names declared, also of what is itself not in order."""

    file: EstateFile
    members: Members
    document: Document
    regions: tuple[str, ...]
    services: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, file: EstateFile, *, members: Members, document: Document) -> Scene:
        """Return the scene of one document."""
        return cls(
            file=file,
            members=members,
            document=document,
            regions=_declared(document.data, "regions"),
            services=_declared(document.data, "services"),
            groups=groups(file.services),
        )

    def components(self) -> Iterator[tuple[KeyPath, str, str, ComponentSection]]:
        """Yield every component with its path, its service's name and its own."""
        for service_name, service in self.file.services.items():
            for name, section in service.components.items():
                yield ("services", service_name, "components", name), service_name, name, section

    def holds_state(self, component: str) -> bool:
        """Return whether a component holds state; no, if its driver is not known."""
        return self.members.purposes.get(ComponentId(component)) is Purpose.STATE


Rule: TypeAlias = Callable[[Scene], Iterator[Found]]


def _declared(data: Any, section: str) -> tuple[str, ...]:
    declared = data.get(section) if isinstance(data, dict) else None
    return tuple(declared) if isinstance(declared, dict) else ()
