"""What every command shares at the terminal: its common options, plain or rich output, JSON, progress, errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from evac.core.errors import UnsafePlan
from evac.drivers.settings import Duration
from evac.engine.codec import to_plain

EstateOption = Annotated[
    Path, typer.Option("--estate", "-e", envvar="EVAC_ESTATE", help="The estate file.", show_default=True)
]
EnvironmentOption = Annotated[
    str | None, typer.Option("--environment", envvar="EVAC_ENVIRONMENT", help="The environment's layer to apply.")
]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        envvar="EVAC_STATE",
        readable=False,  # a store elsewhere may answer without it; whatever needs it says so
        help="Folder of the store. Default: .evac beside the estate file.",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="EVAC_STORE",
        help="The store as etcd://host:port,host:port, zookeeper://… or consul://… Paths in it, as in ca=keys/ca.pem,"
        " start at the current folder (in an estate: at the estate file's). Default: the estate's, else a file in the"
        " state folder.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for the region's name.")]
GroupOption = Annotated[str | None, typer.Option("--group", help="The group to move, if the estate has several.")]
ESTATE_DEFAULT = Path("estate.yaml")


def console() -> Console:
    """Return where people read. Colour and width are as the terminal says; a pipe gets plain, unwrapped lines."""
    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False)


def print_json(value: object) -> None:
    """Print a value of the core as one JSON document."""
    print(json.dumps(to_plain(value), indent=2, ensure_ascii=False, sort_keys=False))


def refuse_unasked(*, yes: bool) -> None:
    """Raise `UnsafePlan` where neither `--yes` was said nor anybody can be asked: before anything is started."""
    if not (yes or sys.stdin.isatty()):
        raise UnsafePlan(("there is no terminal to ask at: add --yes if you mean it",))


def confirmed(lines: Sequence[str], region: str) -> bool:
    """Show what will be done, ask for a region's name, and return whether that was the answer."""
    for line in lines:
        note(line)
    try:
        said: str = typer.prompt(f"type {region} to go on", default="", show_default=False, err=True)
    except typer.Abort:
        return False
    return said == region


def print_json_line(value: object) -> None:
    """Print a value of the core as one line of JSON, for commands that tell as they go."""
    print(json.dumps(to_plain(value), ensure_ascii=False), flush=True)


def note(text: str) -> None:
    """Say on standard error what a person should know and a machine need not."""
    print(text, file=sys.stderr)


@contextmanager
def busy(text: str) -> Iterator[None]:
    """Show on standard error, where that is a terminal, that something takes its time."""
    with Console(stderr=True).status(text):
        yield


def complain(what: str, why: str, *, next_step: str = "") -> None:
    """Say on standard error what failed, why, and what to do next."""
    print(f"evac: {what}:", file=sys.stderr)
    for line in why.splitlines():
        print(f"  {line}", file=sys.stderr)
    if next_step:
        print(f"next: {next_step}", file=sys.stderr)


def duration(text: str) -> timedelta:
    """Return the duration that was typed. Raises `typer.BadParameter`."""
    try:
        found = TypeAdapter(Duration).validate_python(text)
    except ValidationError:
        raise typer.BadParameter(f"{text} is not a duration; write 30m, 2h or 1d") from None
    if found <= timedelta():
        raise typer.BadParameter("it must be longer than nothing")
    return found


def listening(default: str) -> Any:
    """Return the option that says how long a command listens to the agents; its default as a person types it."""
    said = "How long to listen to the agents."
    return typer.Option("--for", parser=duration, metavar="DURATION", help=said, show_default=default)
