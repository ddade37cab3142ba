"""`evac demo`: a region dies on this machine and evac moves what it served; ends with a report."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from evac.cli.terminal import JsonOption, console, print_json_line
from evac.core.observation import MemberRole, MemberSeen
from evac.core.snapshot import Snapshot
from evac.lab.demo import Ending, Screen, play
from evac.report.words import span

PULSE_EVERY = 5
"""Without a terminal, one pulse of so many is printed."""


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("demo")
    def demo(
        folder: Annotated[Path, typer.Option("--dir", help="The demo's folder; it is emptied first.")] = Path(
            ".evac/demo"
        ),
        as_json: JsonOption = False,
    ) -> None:
        """Bring three regions up here, kill one, and watch. Exits with 1 if a promise was broken."""
        ending = asyncio.run(play(folder, _for_machines()) if as_json else _play(folder))
        if as_json:
            print_json_line({"ending": ending})
        else:
            _show(ending)
        if ending.broken:
            raise typer.Exit(1)


def _for_machines() -> Screen:
    """A screen of JSON lines, each an object with one key."""
    return Screen(
        headline=lambda text: print_json_line({"headline": text}),
        line=lambda text: print_json_line({"line": text}),
        state=lambda snapshot: print_json_line({"state": snapshot}),
        pulse=lambda text: print_json_line({"clients": text}),
    )


async def _play(folder: Path) -> Ending:
    out = console()
    with Live(console=out, auto_refresh=False, transient=True) as live:
        beats = 0

        def pulse(text: str) -> None:
            nonlocal beats
            beats += 1
            if out.is_terminal:
                live.update(Text(text, style="dim"), refresh=True)
            elif beats % PULSE_EVERY == 1:
                out.print(f"           clients   {text}", markup=False)

        return await play(
            folder,
            Screen(
                headline=lambda text: out.print(Text(f"\n== {text}", style="bold")),
                line=lambda text: out.print(text, markup=False),
                state=lambda snapshot: out.print(_table(snapshot)),
                pulse=pulse,
            ),
        )


def _table(snapshot: Snapshot) -> Table:
    """The estate and its health."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    components = sorted({m.component for m in snapshot.members if _holds_state(m)})
    for name in ("region", "health", *components):
        table.add_column(name)
    for verdict in snapshot.verdicts:
        members = {m.component: m for m in snapshot.members if m.region == verdict.region}
        health = verdict.status.value if verdict.diagnosis == "well" else verdict.diagnosis.value
        table.add_row(verdict.region, health, *(_member(members.get(c)) for c in components))
    return table


def _holds_state(member: MemberSeen) -> bool:
    return member.state is not None and member.state.position is not None


def _member(member: MemberSeen | None) -> str:
    if member is None or member.state is None:
        return "no answer"
    lag = member.state.lag
    if member.state.role is MemberRole.STANDBY and lag is not None:
        return f"{member.state.role.value}, lag {span(lag)}"
    return member.state.role.value


def _show(ending: Ending) -> None:
    out = console()
    out.print()
    for line in ending.said:
        out.print(line, markup=False)
    out.print(f"report: {ending.html} and {ending.markdown}", markup=False)
    for promise in ending.broken:
        out.print(f"BROKEN: {promise}", markup=False)
    if not ending.broken:
        out.print("every promise was kept", markup=False)
