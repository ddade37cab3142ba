"""`evac lab`: regions on this machine, with real servers, a WAN between them, and faults on order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from evac.cli.terminal import JsonOption, busy, console, print_json
from evac.lab import control, world
from evac.lab.control import LabError
from evac.lab.faults import FaultKind, Target
from evac.lab.layout import Form, Mode
from evac.lab.quantities import value_of

DirOption = Annotated[Path, typer.Option("--dir", envvar="EVAC_LAB", help="The lab's folder.", show_default=True)]
_DIR = Path(".evac/lab")

app = typer.Typer(help="Regions on this machine. Real servers, real distances, real faults.", no_args_is_help=True)


@app.command()
def up(
    folder: DirOption = _DIR,
    estate: Annotated[
        Path | None, typer.Option("--estate", help="The lab's file. Default: the shipped three regions.")
    ] = None,
    mode: Annotated[
        str, typer.Option(help="Whether a write is acknowledged by a standby: sync or async.", metavar="MODE")
    ] = "sync",
    form: Annotated[
        str,
        typer.Option(
            help="embedded: evac is yours to start. distributed: an etcd member and an agent run in every region.",
            metavar="FORM",
        ),
    ] = "embedded",
    detach: Annotated[bool, typer.Option("--detach/--foreground", help="Return when it is up, or stay.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Bring three regions up. Each has PostgreSQL, Valkey, HAProxy, Knot, ssh and a shop."""
    asyncio.run(_up(folder, estate=estate, mode=_mode(mode), form=_form(form), detach=detach, as_json=as_json))


async def _up(folder: Path, *, estate: Path | None, mode: Mode, form: Form, detach: bool, as_json: bool) -> None:
    with busy("bringing the regions' servers up"):
        lab = await world.up(folder, file=estate, mode=mode, form=form, tied=not detach)
    try:
        status = await lab.status()
        if as_json:
            print_json(status)
        else:
            _show(status)
            where = "" if folder == _DIR else f" --dir {folder}"
            console().print(f"estate: {lab.estate}\nnext: evac lab fault power {status['home']}{where}", markup=False)
        if not detach:
            await _interrupted()
    finally:
        if not detach:
            await lab.down()


async def _interrupted() -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()


def _mode(text: str) -> Mode:
    for mode in get_args(Mode):
        if text == mode:
            return cast("Mode", mode)
    raise typer.BadParameter("is sync or async", param_hint="--mode")


def _form(text: str) -> Form:
    for form in get_args(Form):
        if text == form:
            return cast("Form", form)
    raise typer.BadParameter("is embedded or distributed", param_hint="--form")


@app.command()
def status(folder: DirOption = _DIR, as_json: JsonOption = False) -> None:
    """Show what there is, and what is wrong with it on purpose."""
    found = asyncio.run(world.at(folder).status())
    if as_json:
        print_json(found)
    else:
        _show(found)


def _show(status: dict[str, Any]) -> None:
    out = console()
    out.print(f"lab {status['name']}  {status['mode']}  up {status['up_s']:.0f} s  in {status['folder']}", markup=False)
    for name, region in status["regions"].items():
        servers = "  ".join(f"{server} {state}" for server, state in region["servers"].items())
        out.print(f"{name}  {region['address']}  {servers}", markup=False)
    sites = "  ".join(f"{name} {address}" for name, address in status["sites"].items())
    out.print(f"without servers: {sites}", markup=False)
    if status["dns"].startswith("missing"):
        out.print(f"dns {status['dns']}", markup=False)
    for fault in status["faults"]:
        out.print(f"fault {control.decode_fault(fault)}", markup=False)
    if not status["faults"]:
        out.print("no fault is on", markup=False)


@app.command()
def fault(
    kind: Annotated[FaultKind, typer.Argument(help="What to do to the region.")],
    region: Annotated[str, typer.Argument(help="The region.")],
    to: Annotated[str | None, typer.Option("--to", help="Only between it and this site (cut, delay, loss).")] = None,
    value: Annotated[str | None, typer.Option("--value", help="Of loss: 40%; of delay: 200ms.")] = None,
    what: Annotated[
        Target, typer.Option("--what", help="What freezes; kill takes agent, watchdog and store.")
    ] = Target.DATABASE,
    folder: DirOption = _DIR,
    as_json: JsonOption = False,
) -> None:
    """Bring a fault about, and say when it took effect."""
    try:
        number = value_of(kind, value)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--value") from None
    done = asyncio.run(world.at(folder).fault(kind, region, to=to, value=number, what=what))
    if as_json:
        print_json(control.encode_fault(done))
    else:
        console().print(f"fault {done}, since {done.at_s:.3f} s of boot time; end it: evac lab heal", markup=False)


@app.command()
def heal(
    region: Annotated[str | None, typer.Argument(help="The region. Default: all of them.")] = None,
    folder: DirOption = _DIR,
    as_json: JsonOption = False,
) -> None:
    """End faults, and boot what they killed as an init system would."""
    with busy("healing"):
        done = asyncio.run(world.at(folder).heal(region))
    if as_json:
        faults = [control.encode_fault(f) for f in done.faults]
        print_json({"healed": faults, "at_s": done.at_s, "done_s": done.done_s, "problems": list(done.problems)})
    else:
        for each in done.faults:
            console().print(f"healed {each}", markup=False)
        for problem in done.problems:
            console().print(f"did not come up: {problem}", markup=False)
        if not done.faults:
            console().print("no fault was on", markup=False)
    if done.problems:
        raise typer.Exit(1)


@app.command()
def down(folder: DirOption = _DIR, as_json: JsonOption = False) -> None:
    """End the lab and everything that runs in it."""
    asyncio.run(world.at(folder).down())
    if as_json:
        print_json({"down": str(folder)})
    else:
        console().print(f"the lab in {folder} is down; its logs are still there", markup=False)


@app.command()
def shell(site: Annotated[str, typer.Argument(help="A region, or ops, or clients.")], folder: DirOption = _DIR) -> None:
    """Open a shell at a site, in its network. It prints nothing itself, so there is no --json."""
    _become(world.at(folder).command(site, os.environ.get("SHELL", "/bin/sh")))


@app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(
    site: Annotated[str, typer.Argument(help="A region, or ops, or clients.")],
    command: Annotated[list[str], typer.Argument(help="The command, after --.")],
    folder: DirOption = _DIR,
) -> None:
    """Run a command at a site: evac lab exec ops -- evac serve.

    It runs in the site's network, and its exit code is the command's. What it prints is its own, so there is no --json.
    """
    _become(world.at(folder).command(site, *command))


def _become(command: tuple[str, ...]) -> None:
    sys.stdout.flush()
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise LabError(f"cannot run {command[0]}: {error.strerror}") from None
