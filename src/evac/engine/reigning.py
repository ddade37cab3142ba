"""What a leader does for as long as it leads: it decides and acts, hears what people ask, and tells what is known.

What this is not: how one comes to lead (`engine.leadership` in one process, `engine.election` among agents).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable
from datetime import timedelta
from typing import Any

import structlog

from evac.core.errors import StoreError
from evac.engine import outlook, requests, snapshots
from evac.engine.controller import Controller
from evac.ports import Clock, Store

AGAIN_AFTER = timedelta(seconds=1)

_log = structlog.get_logger(__name__)


async def reign(
    controller: Controller,
    *,
    store: Store,
    clock: Clock,
    tells: bool = True,
    beside: Iterable[Coroutine[Any, Any, None]] = (),
) -> None:
    """Lead until it is ended, and run `beside` for as long. Raises `StoreUnavailable` in a group.

    Who `tells` nothing of what it knows leaves the view that there was: it ends before it has seen anything.
    """
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(controller.lead())
        tasks.create_task(requests.attend(controller, store=store, clock=clock))
        if tells:
            tasks.create_task(snapshots.publish(controller, store=store, clock=clock))
            tasks.create_task(outlook.keep_outlook(controller, store=store, clock=clock))
        for part in beside:
            tasks.create_task(part)


async def reign_if_one_can(reigning: Awaitable[None], *, clock: Clock) -> None:
    """Lead; where that fails, say so, and let another try. Raises the store's errors in a group.

    What cannot be read or done by a leader must not end what else its process is for: a primary that is held under a
    lease dies soon after its keeper.
    """
    try:
        await reigning
    except* StoreError:
        raise
    except* Exception as trouble:
        _log.exception("leading failed: the lead is laid down", why=str(trouble.exceptions[0]))
        await clock.sleep(AGAIN_AFTER)
