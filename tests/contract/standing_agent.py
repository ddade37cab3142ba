"""What an agent does for a primary's watchdog, and nothing else: `python standing_agent.py FOLDER W JSON`.

It begins a watchdog in FOLDER (`db.watchdog`), arms it, and tells it of a renewal five times a second, as if the store
always answered. JSON is the `Watched`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from evac.core.timing import Holding, LeaseTiming
from evac.core.watchdog import Watched
from evac.engine.clock import BootClock
from evac.engine.watchdog import Armed, WatchdogLine
from evac.places.local import LocalPlace

TERM = 3
FEED_EACH_S = 0.2


async def feed(folder: Path, within: timedelta, watched: Watched) -> None:
    """Hold the server for ever."""
    timing = LeaseTiming(
        renew=within / 8, hold=within, watchdog=within, reset=within / 8, demote=within / 8, wait=2 * within
    )
    line = WatchdogLine(folder=folder, name="db", watched=watched, holding=Holding(timing=timing), place=LocalPlace())
    clock = BootClock()
    assert isinstance(await line.arm(clock.now(), TERM), Armed)
    while True:
        await line.feed(clock.now())
        await asyncio.sleep(FEED_EACH_S)


if __name__ == "__main__":
    said = json.loads(sys.argv[3])
    listed: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in said.items()}
    asyncio.run(feed(Path(sys.argv[1]), timedelta(seconds=float(sys.argv[2])), Watched(**listed)))
