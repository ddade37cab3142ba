"""Rules about triggers: each says what it must, its expression is in order, and what it asks for can come to pass."""

from __future__ import annotations

from collections.abc import Iterator

from evac.config.build import detection
from evac.config.conditions import Compiled, Refused, durations
from evac.config.scene import Found, Rule, Scene
from evac.config.schema import TriggerSection
from evac.config.shipped import SHIPPED, whole
from evac.config.source import KeyPath
from evac.config.spelling import listed, meant
from evac.config.triggers import lacking, looked_after, named_parts, read
from evac.core.estate import ComponentId, Directs
from evac.core.trigger import Action
from evac.drivers.settings import format_duration


def triggers_are_whole(scene: Scene) -> Iterator[Found]:
    """A trigger says when, for how long and what then; one that ships may leave it out."""
    for name, said in scene.file.triggers.items():
        section = whole(name, said)
        lacks = [
            key
            for key, value in (("when", section.when), ("for", section.lasting), ("action", section.action))
            if not value
        ]
        if lacks:
            reason = f"lacks {listed(lacks)}{meant(name, SHIPPED)}; add that, or name a shipped one: {listed(SHIPPED)}"
            yield Found(path=("triggers", name), reason=reason)


def expressions_are_in_order(scene: Scene) -> Iterator[Found]:
    """An expression names facts that there are, of what its groups have, and is true or false."""
    declared = named_parts(scene.file, scene.members)
    for name, section in _whole(scene):
        found = read(section, declared)
        path = _path(scene, name, "when")
        if isinstance(found, Refused):
            yield from (Found(path=path, reason=reason) for reason in found.reasons)
            continue
        known = [g for g in section.groups if g in scene.groups]
        for named in found.reads:
            without = [g for g in known if lacking(named, scene.groups[g], file=scene.file, members=scene.members)]
            if without:
                reason = f"reads {named.written}, and {listed(without)} has no such thing; name other groups, or none"
                yield Found(path=("triggers", name, "groups"), reason=reason)
        if not looked_after(section, found.reads, file=scene.file, members=scene.members):
            reads = listed(named.written for named in found.reads)
            reason = f"looks after nothing: no group has all that it reads ({reads})"
            yield Found(path=path, reason=reason, warning=True)


def recoveries_outlast_the_wait(scene: Scene) -> Iterator[Found]:
    """A trigger promises no recovery before it asks for it."""
    for name, section in _whole(scene):
        if section.rto is not None and section.lasting is not None and section.rto <= section.lasting:
            rto, lasting = format_duration(section.rto), format_duration(section.lasting)
            reason = f"rto {rto} cannot be kept: nothing is done before it has been true for {lasting}; promise more"
            yield Found(path=_path(scene, name, "rto", "for"), reason=reason)


def slowness_can_be_seen(scene: Scene) -> Iterator[Found]:
    """No probe waits for so long as an answer would have to take."""
    policy = detection(scene.file)
    longest = max(policy.timeout, policy.client_timeout)
    for name, section in _whole(scene):
        asked = [d for d in durations(section.when or "") if d >= longest]
        if ".p95" in (section.when or "") and asked:
            reason = (
                f"waits for answers of {format_duration(min(asked))}, and no probe waits longer than "
                f"{format_duration(longest)}: a slower one is a failure, which is acted on sooner; raise "
                "detection.client_timeout, or lower the bound"
            )
            yield Found(path=_path(scene, name, "when"), reason=reason, warning=True)


def clients_can_be_shifted(scene: Scene) -> Iterator[Found]:
    """What asks for clients to be sent elsewhere looks after groups where somebody chooses their door."""
    declared = named_parts(scene.file, scene.members)
    doors = {service for _, service, name, _ in scene.components() if _chooses_doors(scene, service, name)}
    for name, section in _whole(scene):
        found = read(section, declared)
        if section.action is not Action.SHIFT or not isinstance(found, Compiled):
            continue
        groups = looked_after(section, found.reads, file=scene.file, members=scene.members)
        without = [g for g in groups if g in scene.groups and not doors.intersection(scene.groups[g])]
        if without:
            reason = (
                f"shifts traffic, and no router of {listed(without)} chooses where clients enter: it calls a person"
            )
            yield Found(path=_path(scene, name, "action"), reason=reason, warning=True)


def _chooses_doors(scene: Scene, service: str, component: str) -> bool:
    section, support = (
        scene.file.services[service].components[component],
        scene.members.supports.get(ComponentId(component)),
    )
    return (section.directs or (support.directs if support else None)) is Directs.ENTRY


def _whole(scene: Scene) -> Iterator[tuple[str, TriggerSection]]:
    for name, said in scene.file.triggers.items():
        section = whole(name, said)
        if section.when and section.lasting and section.action:
            yield name, section


def _path(scene: Scene, name: str, *keys: str) -> KeyPath:
    """Return the first of these that the file says; of one that ships it says nothing but the name."""
    said = (("triggers", name, key) for key in keys)
    return next((path for path in said if path in scene.document.marks), ("triggers", name))


URGING: tuple[Rule, ...] = (
    triggers_are_whole,
    expressions_are_in_order,
    recoveries_outlast_the_wait,
    slowness_can_be_seen,
    clients_can_be_shifted,
)
