"""`evac serve`: the embedded form; watches the estate and acts."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import typer

from evac.cli.telling import Teller
from evac.cli.terminal import ESTATE_DEFAULT, EnvironmentOption, EstateOption, JsonOption, StateOption, StoreOption
from evac.config import Loaded, load
from evac.daemon import running
from evac.opening import state_folder


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("serve")
    def serve(
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Watch the estate from every region, and act. Ends on SIGTERM or SIGINT; what it manages runs on."""
        loaded = load(estate, environment=environment, store=store)
        teller = Teller(as_json=as_json, estate=loaded.estate)
        for warning in loaded.warnings:
            teller.say(f"warning: {warning}")
        asyncio.run(_serve(loaded, state_folder(estate, state), teller))


async def _serve(loaded: Loaded, state: Path, teller: Teller) -> None:
    """Run until told to end."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, ended.set)
    async with running(loaded, state=state, announce=teller, name=f"serve-{os.getpid()}"):
        teller.say(f"watching {loaded.estate.name}: {', '.join(loaded.estate.regions)}")
        await ended.wait()
    teller.say("ended; what evac manages runs on as it is")
