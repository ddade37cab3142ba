"""The machine's clocks as a port: boot time decides, wall time is for people."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from evac.core.observation import Instant


class BootClock:
    """Boot time by CLOCK_BOOTTIME (clock_gettime(2)): it goes on while the machine is suspended, and nobody sets it."""

    def now(self) -> Instant:
        return timedelta(microseconds=time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000)

    def wall(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(duration.total_seconds())
