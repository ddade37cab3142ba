"""Rules about devices: that they are a member's, and the only fence from afar that its component has."""

from __future__ import annotations

from collections.abc import Iterator

from evac.config.scene import Found, Rule, Scene


def devices_are_of_members_that_hold_state(scene: Scene) -> Iterator[Found]:
    """What is switched off is a primary's host."""
    for path, _, name, section in scene.components():
        for region in section.devices:
            at = (*path, "devices", region)
            if region not in section.members:
                yield Found(path=at, reason=f"{name} has no member in {region}; leave it away")
            elif not scene.holds_state(name):
                yield Found(path=at, reason=f"{name} holds no state, so nothing of it is fenced; leave it away")


def devices_or_a_lease(scene: Scene) -> Iterator[Found]:
    """One fence from afar is waited for, not two: a component says which."""
    for path, _, name, section in scene.components():
        if section.devices and section.replication is not None and section.replication.lease is not None:
            reason = f"{name} has devices too, and one of the two is waited for; leave lease or devices away"
            yield Found(path=(*path, "replication", "lease"), reason=reason)


DEVICES: tuple[Rule, ...] = (devices_are_of_members_that_hold_state, devices_or_a_lease)
