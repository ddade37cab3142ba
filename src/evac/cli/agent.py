"""`evac agent`: one region's part of the distributed form; it looks, obeys, and leads when it is elected."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from evac.cli.telling import Teller
from evac.cli.terminal import ESTATE_DEFAULT, EnvironmentOption, EstateOption, JsonOption, StateOption, StoreOption
from evac.config import Loaded, load
from evac.core.estate import RegionId
from evac.core.lease import Leader
from evac.daemon import running_agent
from evac.opened import known_names
from evac.opening import state_folder


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("agent")
    def agent(
        region: Annotated[str, typer.Option("--region", envvar="EVAC_REGION", help="The region this host is in.")],
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Watch from one region, act there, lead when elected.

        Ends on SIGTERM or SIGINT.

        One runs in every region, on a store they share (etcd, ZooKeeper, Consul): the death of a region, the leader's
        included, changes who leads and no more.
        """
        loaded = load(estate, environment=environment, store=store)
        known_names(loaded.estate, regions=[region])
        teller = Teller(as_json=as_json, estate=loaded.estate)
        for warning in loaded.warnings:
            teller.say(f"warning: {warning}")
        asyncio.run(_serve(loaded, RegionId(region), state_folder(estate, state), teller))


async def _serve(loaded: Loaded, region: RegionId, state: Path, teller: Teller) -> None:
    """Run until told to end."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, ended.set)
    name = f"{os.uname().nodename}:{os.getpid()}"

    def elected(mine: Leader | None) -> None:
        teller.say(f"{region} leads, reign {mine.reign}" if mine else f"{region} follows")

    async with running_agent(loaded, region, state=state, announce=teller, elected=elected, name=name):
        teller.say(f"watching {loaded.estate.name} from {region}; {loaded.store}")
        await ended.wait()
    teller.say("ended; what evac manages runs on as it is, and the agents of the other regions go on")
