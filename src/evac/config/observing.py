"""Rules about observers: whose word it is stays clear, so that one witness has one vote."""

from __future__ import annotations

from collections.abc import Iterator

from evac.config.build import observed
from evac.config.scene import Found, Rule, Scene


def targets_have_one_look(scene: Scene) -> Iterator[Found]:
    """What is observed is not also asked by evac's probes in the same way, nor by a second observer from there.

    Answers of two kinds in one row would break each other's: neither would ever fail so often one after the other.
    """
    first: dict[tuple[str, str, bool | None], str] = {}
    for name, kind in scene.members.observer_kinds.items():
        observer = scene.file.observers[name]
        how = None if kind.counts else observer.as_client
        for position, service in enumerate(observer.services):
            section = scene.file.services.get(service)
            if section and not kind.counts and any(p.as_client == observer.as_client for p in section.probes):
                reason = f"{service} has probes of its own; take them out, or take it out here"
                yield Found(path=("observers", name, "services", position), reason=reason)
        services = observed(scene.file, name, counts=kind.counts)
        for vantage in observer.vantages:
            taken = {first.setdefault((vantage, service, how), name) for service in services}
            for other in sorted(taken - {name}):
                reason = (
                    f"tells of services that {other} tells of from there too; name in `services` who tells of which"
                )
                yield Found(path=("observers", name, "vantages", vantage), reason=reason)


def witnesses_vote_once(scene: Scene) -> Iterator[Found]:
    """Two vantage points do not repeat the word of one observer."""
    for name, by_region in scene.members.observers.items():
        kind = scene.members.observer_kinds[name]
        heard: dict[str, str] = {}
        for vantage, settings in by_region.items():
            for witness in sorted(kind.witnesses(settings)):
                other = heard.setdefault(witness, vantage)
                if other != vantage:
                    reason = f"asks {witness} as {other} does: one witness would have two votes; give each its own"
                    yield Found(path=("observers", name, "vantages", vantage), reason=reason)


OBSERVING: tuple[Rule, ...] = (targets_have_one_look, witnesses_vote_once)
