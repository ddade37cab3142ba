"""The shop's web service as a process: `python -m evac.lab.shop`, on its region's own two stores."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evac.lab.servers import process
from evac.lab.servers.process import Process


@dataclass(slots=True, kw_only=True)
class ShopServer:
    """One region's shop. `conninfo` and `valkey` say where its stores are; the secrets in them go by no log."""

    region: str
    folder: Path
    address: str
    port: int
    conninfo: str
    valkey: str
    within: Sequence[str] = ()
    _process: Process | None = None

    async def start(self) -> None:
        """Start it and return when it takes connections."""
        self._process = Process(
            name=f"shop {self.region}",
            argv=(
                sys.executable, "-m", "evac.lab.shop", "--region", self.region,
                "--listen", f"{self.address}:{self.port}", "--pg", self.conninfo, "--valkey", self.valkey,
            ),
            within=self.within,
            log=self.folder / "shop.log",
        )  # fmt: skip
        await self._process.start(ready=lambda pid: process.listening(pid, self.port))

    def reap(self) -> None:
        """Take note of its end, if it has ended: until then the kernel still shows it, as a zombie."""
        if self._process:
            self._process.reap()

    def pids(self) -> tuple[int, ...]:
        """Return its processes."""
        return self._process.pids() if self._process else ()

    async def stop(self) -> None:
        """Shut it down."""
        if self._process:
            await self._process.stop()

    async def kill(self) -> None:
        """SIGKILL it."""
        if self._process:
            await self._process.kill()
