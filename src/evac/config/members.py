"""Members' and probes' settings, held against the models of their drivers and kinds.

Intuition: the estate file does not know what a HAProxy wants to be told; HAProxy's driver does. A member's settings
are the component's shared ones with its own laid over them, read by the driver's model; what it refuses is reported
at the line it came from, whichever of the two that was.

What this is not: opening anything (`daemon`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evac.config.form import Formed, problems
from evac.config.schema import ComponentSection, EstateFile
from evac.config.source import Document, KeyPath, Problem
from evac.config.spelling import listed, meant
from evac.core.errors import EvacError
from evac.core.estate import ComponentId, Purpose, RegionId, ServiceId
from evac.core.plan import Verb
from evac.ports import DriverKind, ObserverKind, ProbeKind, Support


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """The drivers, probes and observers there are."""

    drivers: Mapping[str, DriverKind]
    probes: Mapping[str, ProbeKind]
    observers: Mapping[str, ObserverKind] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Members:
    """What drivers can do, and validated settings: of each component's member in a region, and of each probe, by
    service and position; and of each observer at a vantage point, by name, with its kind.
    """

    purposes: dict[ComponentId, Purpose] = field(default_factory=dict)
    supports: dict[ComponentId, Support] = field(default_factory=dict)
    components: dict[ComponentId, dict[RegionId, Any]] = field(default_factory=dict)
    probes: dict[tuple[ServiceId, int], dict[RegionId, Any]] = field(default_factory=dict)
    observers: dict[str, dict[RegionId, Any]] = field(default_factory=dict)
    observer_kinds: dict[str, ObserverKind] = field(default_factory=dict)


def read_members(formed: Formed, document: Document, *, kinds: Kinds, folder: Path) -> Members:
    """Return all settings that are in order; adds to the document's problems what is not, and cuts it."""
    members = Members()
    if formed.file is None:
        return members
    reading = _Reading(document=document, formed=formed, folder=folder)
    for path, name, section in _components(formed.file):
        if ComponentId(name) in members.purposes:
            continue  # a name taken twice is reported by its own rule
        kind = reading.kind(kinds.drivers, section.driver, path, key="driver")
        if kind is None:
            continue
        members.purposes[ComponentId(name)] = purpose_of(kind)
        members.supports[ComponentId(name)] = kind.support
        found = reading.each(kind.settings, path, shared=section.settings, own=section.members, key="members")
        members.components[ComponentId(name)] = found
    for name, service in formed.file.services.items():
        for position, probe in enumerate(service.probes):
            path = ("services", name, "probes", position)
            probe_kind = reading.kind(kinds.probes, probe.kind, path, key="kind")
            if probe_kind is not None:
                found = reading.each(probe_kind.settings, path, shared=probe.settings, own=probe.regions, key="regions")
                members.probes[ServiceId(name), position] = found
    for name, observer in formed.file.observers.items():
        path = ("observers", name)
        observer_kind = reading.kind(kinds.observers, observer.kind, path, key="kind")
        if observer_kind is not None:
            shared, own = observer.settings, observer.vantages
            members.observer_kinds[name] = observer_kind
            members.observers[name] = reading.each(observer_kind.settings, path, shared=shared, own=own, key="vantages")
    return members


def purpose_of(kind: DriverKind) -> Purpose:
    """Return what a driver's components are in a plan: what can be promoted holds state."""
    return Purpose.STATE if Verb.PROMOTE in kind.support.verbs else Purpose.ROUTER


def overlaid(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return shared settings with a member's own laid over them; null takes a shared one away."""
    whole = dict(shared)
    for key, value in own.items():
        below = whole.get(key)
        if value is None:
            whole.pop(key, None)
        else:
            whole[key] = overlaid(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return whole


def _components(file: EstateFile) -> Iterator[tuple[KeyPath, str, ComponentSection]]:
    for service_name, service in file.services.items():
        for name, section in service.components.items():
            yield ("services", service_name, "components", name), name, section


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    document: Document
    formed: Formed
    folder: Path

    def refuse(self, path: KeyPath, why: str) -> None:
        self.document.problems.append(Problem(mark=self.document.marks[path], path=path, reason=why))
        self.formed.cut.add(path)

    def kind(self, known: Mapping[str, Any], name: str, path: KeyPath, *, key: str) -> Any:
        """Return the driver or probe of a name; None, and a problem, if there is none."""
        if name not in known:
            self.refuse((*path, key), f"{name} is not installed{meant(name, known)}; installed: {listed(known)}")
            return None
        try:
            return known[name]
        except EvacError as error:
            self.refuse((*path, key), str(error))
            return None

    def each(
        self, model: Any, path: KeyPath, *, shared: dict[str, Any], own: Mapping[str, dict[str, Any] | None], key: str
    ) -> dict[RegionId, Any]:
        """Return the settings of each region that are in order."""
        found: dict[RegionId, Any] = {}
        for region, settings in own.items():
            whole = overlaid(shared, settings or {})
            at = (*path, key, region)
            try:
                found[RegionId(region)] = model.model_validate_json(json.dumps(whole), context={"folder": self.folder})
            except ValidationError as refused:
                for problem in problems(refused, self.document, data=whole, model=model, under=at):
                    self._report(problem, at, (*path, "settings"))
        return found

    def _report(self, problem: Problem, at: KeyPath, shared: KeyPath) -> None:
        """Report at the line the value came from: the member's own settings, or the shared ones."""
        inside = problem.path[len(at) :]
        self.formed.cut.add(at)
        if inside and problem.path not in self.document.marks and (*shared, *inside) in self.document.marks:
            path = (*shared, *inside)
            problem = Problem(mark=self.document.marks[path], path=path, reason=problem.reason)
        if problem not in self.document.problems:
            self.document.problems.append(problem)
