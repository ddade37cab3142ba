"""Rules about leases: that their times keep two primaries apart, and that something can hold them."""

from __future__ import annotations

from collections.abc import Iterator

from evac.config.build import replication
from evac.config.scene import Found, Rule, Scene
from evac.config.schema import ComponentSection
from evac.config.source import KeyPath
from evac.core.estate import ComponentId, ReplicationMode
from evac.core.timing import Holding

_SAID = ("wait", "watchdog", "renew", "reset", "freeze")
"""Where a time that breaks the inequality is best mended, the first that the file says."""


def leases_keep_two_primaries_apart(scene: Scene) -> Iterator[Found]:
    """The wait exceeds whatever the old primary may still live."""
    for path, _, held in _held(scene):
        for reason in held.timing.problems():
            said = next(((*path, key) for key in _SAID if (*path, key) in scene.document.marks), path)
            yield Found(path=said, reason=reason)


def leases_are_for_the_asynchronous(scene: Scene) -> Iterator[Found]:
    """A synchronous primary is starved, which needs no wait; only PostgreSQL's server can be watched."""
    for path, name, section in _leased(scene):
        said = replication(section)
        support = scene.members.supports.get(ComponentId(name))
        if said.mode is ReplicationMode.SYNC or said.acks:
            reason = "a primary that waits for its standbys is fenced by them, without a wait; leave lease away"
            yield Found(path=path, reason=reason)
        elif support is not None and not support.watched:
            reason = f"{section.driver} says of no process what a watchdog could kill; leave lease away"
            yield Found(path=path, reason=reason)


def leases_need_agents(scene: Scene) -> Iterator[Found]:
    """Who is not in the primary's region cannot kill it when it is cut off."""
    if scene.file.store is None:
        for path, _, _ in _leased(scene):
            reason = (
                "is held only where an agent runs in every region (evac agent) and all share a store: name it under "
                "store; evac serve holds no lease, and waits for a person when an asynchronous primary is silent"
            )
            yield Found(path=path, reason=reason, warning=True)


def _leased(scene: Scene) -> Iterator[tuple[KeyPath, str, ComponentSection]]:
    for path, _, name, section in scene.components():
        if scene.holds_state(name) and section.replication is not None and section.replication.lease is not None:
            yield (*path, "replication", "lease"), name, section


def _held(scene: Scene) -> Iterator[tuple[KeyPath, str, Holding]]:
    for path, name, section in _leased(scene):
        held = replication(section).held
        assert held is not None, "only components with a lease were chosen"
        yield path, name, held


LEASES: tuple[Rule, ...] = (leases_keep_two_primaries_apart, leases_are_for_the_asynchronous, leases_need_agents)
