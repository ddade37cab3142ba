"""What a driver brings to the contract suite: a small real world, and for each verb one story told in it.

A driver plugs in with one file `tests/contract/world_<system>.py` that holds `WORLD`, a `DriverWorld`: one a system, so
several for a driver that drives several. The suite finds it by its name; nothing is registered. A world whose server is
not installed here skips as it is raised.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from evac.core.plan import Action
from evac.ports import Driver, DriverKind

Scene = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """The scene that needs no setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One verb on one member. `before` sets the scene (steps that come first in a plan); `look` returns all that the
    verb may change, so that an undo can be seen to restore it. `settled`: what is true after it is true before it as
    well (a verb that changes nothing), so `holds` may say either.
    """

    driver: Driver
    action: Action
    look: Callable[[], Awaitable[object]]
    before: Scene = nothing
    settled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A world that is up. `silent` is a driver whose system does not answer at all. `refused` pairs a driver and an
    action that its system must refuse, each with the words that make the reason clear. `secrets` may stand in no
    message.
    """

    observed: Sequence[Driver]
    stories: dict[str, Story]
    silent: Driver
    silent_action: Action
    refused: dict[str, tuple[Driver, Action, str]]
    secrets: Sequence[str] = ()
    notes: dict[str, object] = field(default_factory=dict)


class DriverWorld(Protocol):
    """One driver's world. `stories` and `refusals` name what a stage will hold, before it is built."""

    kind: DriverKind
    stories: Sequence[str]
    refusals: Sequence[str]

    def raised(self, folder: Path) -> AbstractAsyncContextManager[Stage]:
        """Bring a fresh world up in a folder; it is gone when the context ends."""


def worlds() -> dict[str, DriverWorld]:
    """Return every world by name, found as `world_<name>.py` beside this file."""
    found = sorted(Path(__file__).parent.glob("world_*.py"))
    return {path.stem.removeprefix("world_"): importlib.import_module(path.stem).WORLD for path in found}
