"""What a leader does for as long as it leads: it decides and acts, hears what people ask, and tells what is known.

What this is not: how one comes to lead (`engine.leadership` in one process, `engine.election` among agents).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from evac.engine import outlook, requests, snapshots
from evac.engine.controller import Controller
from evac.ports import Clock, Store


async def reign(
    controller: Controller, *, store: Store, clock: Clock, beside: Iterable[Coroutine[Any, Any, None]] = ()
) -> None:
    """Lead until it is ended, and run `beside` for as long. Raises `StoreUnavailable` in a group."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(controller.lead())
        tasks.create_task(requests.attend(controller, store=store, clock=clock))
        tasks.create_task(snapshots.publish(controller, store=store, clock=clock))
        tasks.create_task(outlook.keep_outlook(controller, store=store, clock=clock))
        for part in beside:
            tasks.create_task(part)
