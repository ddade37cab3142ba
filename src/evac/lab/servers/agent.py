"""One region's `evac agent` as a process of that region: it looks from there, and dies with it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evac.lab.servers.process import Process

EVAC = str(Path(sys.executable).parent / "evac")


@dataclass(slots=True, kw_only=True)
class AgentServer:
    """One agent. `store` is the URL of the store, with the region's own member first."""

    region: str
    folder: Path
    estate: Path
    store: str
    within: Sequence[str] = ()
    _process: Process | None = None

    @property
    def log(self) -> Path:
        """What it says: its own part while it follows, and the estate's news while it leads."""
        return self.folder / "agent.log"

    async def start(self) -> None:
        """Start it and return when it watches."""
        self._process = Process(
            name=f"agent {self.region}",
            argv=(
                EVAC, "agent", "--region", self.region, "--estate", str(self.estate), "--store", self.store,
                "--state", str(self.folder / "evac"),
            ),
            within=self.within,
            log=self.log,
        )  # fmt: skip
        said = self._said()
        await self._process.start(ready=lambda _: "watching" in self._said()[len(said) :])

    @property
    def leads(self) -> bool:
        """Say whether its last word on it is that it leads."""
        said = self._said()
        return said.rfind(" leads") > said.rfind(" follows")

    def _said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

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
