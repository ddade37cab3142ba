"""`python -m evac.lab.matrix [--only PATTERN] [--runs N] [--out FILE] [--json]`: play, judge, write down, show.

Runs that are in the file already, with the same seed and the same code, are not played again. Exit code 1 when a
promise was broken or a run could not be played, 2 when no row is meant by the pattern, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

import evac
from evac.core.errors import EvacError
from evac.engine.codec import to_plain
from evac.lab.bench.stage import Stage, stage
from evac.lab.layout import Form, Mode
from evac.lab.matrix import table
from evac.lab.matrix.book import Book, BookError, Entry, version_of
from evac.lab.matrix.outcome import HARNESS, as_json, broken_harness
from evac.lab.matrix.play import home_of, play
from evac.lab.matrix.rows import ROWS, Row, Script, draw, select

RUN_WAIT_S = 420.0
READ_WAIT_S = 20.0
KEPT = ("*.log", "*/*.log", "*/*/*.log", "clients-*/history.jsonl")
"""What of a lab is evidence, as patterns in its folder: logs, and what clients heard."""


@dataclass(slots=True, kw_only=True)
class Labs:
    """The one lab that is up. It serves one run after the other as long as nothing was moved in it: evac is slow to
    move again what it has just moved, and that would be judged otherwise.
    """

    folder: Path
    _shape: tuple[Mode, Form] | None = None
    _stage: Stage | None = None
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def give(self, mode: Mode, form: Form) -> Stage:
        """Return a lab that is well, of that shape. Raises `EvacError`."""
        if self._stage is None or self._shape != (mode, form):
            await self.drop()
            shutil.rmtree(self.folder, ignore_errors=True)
            self._stage = await self._stack.enter_async_context(stage(self.folder, mode=mode, form=form))
            self._shape = (mode, form)
        return self._stage

    async def drop(self) -> None:
        """End the lab, if one is up. Whatever ends badly with it is of no more interest."""
        self._stage, stack, self._stack = None, self._stack, AsyncExitStack()
        try:
            await stack.aclose()
        except Exception as error:
            print(f"the lab did not end well: {_named(error)}", file=sys.stderr)


async def one(row: Row, seed: int, labs: Labs, *, version: str, evidence: Path) -> Entry:
    """Play one run; return what is written of it, also when it could not be played."""
    began = time.monotonic()
    script = Script(row=row, seed=seed, strikes=(), hold_s=0.0)
    on = None
    try:
        async with asyncio.timeout(RUN_WAIT_S):
            on = await labs.give(row.mode, row.form)
            primary = await home_of(on)
            standbys = [region for region in on.layout.regions if region != primary]
            script = draw(row, seed, primary=primary, standbys=standbys)
            seen = await play(script, on, primary=primary)
        run = as_json(script, seen, version=version, took_s=time.monotonic() - began)
    except Exception as error:  # a run that breaks the harness must not end the matrix
        run = broken_harness(script, _named(error), version=version, took_s=time.monotonic() - began)
    if run["outcome"] == HARNESS or run["violations"]:
        await keep(on, labs.folder, evidence / row.name.replace("/", "-") / str(seed), run)
    if run["outcome"] == HARNESS or run["evac_runs"] or not run["whole"]:
        await labs.drop()
    return run


def _named(error: BaseException) -> str:
    """Return an error, or those in a group, in one line."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_named(each) for each in error.exceptions)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def keep(on: Stage | None, lab: Path, folder: Path, run: Entry) -> None:
    """Keep what tells how a run came about: it would be gone with the lab."""
    copy(lab, folder)
    write(folder / "run.json", run)
    if on is None:
        return
    try:
        async with asyncio.timeout(READ_WAIT_S):
            write(folder / "journals.json", to_plain(await on.estate.runs()))
            write(folder / "view.json", to_plain(await on.estate.last_known()))
    except (EvacError, OSError, TimeoutError) as error:
        write(folder / "unread.json", _named(error))


def write(path: Path, value: object) -> None:
    """Write a value for people to read."""
    path.write_text(json.dumps(value, indent=1) + "\n")


def copy(lab: Path, folder: Path) -> None:
    """Copy what of a lab's files is evidence, in place of what was kept before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in (path for pattern in KEPT for path in lab.glob(pattern) if path.is_file()):
        target = folder / path.relative_to(lab)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


async def matrix(rows: Sequence[Row], book: Book, *, seeds: int, version: str, evidence: Path, say: Console) -> None:
    """Play what the file has not yet: every row with one seed, then every row with the next."""
    todo = [(r, s) for s in range(1, seeds + 1) for r in rows if not book.has(r.name, s, version=version)]
    labs = Labs(folder=evidence / "lab")
    began = time.monotonic()
    try:
        for n, (row, seed) in enumerate(todo, start=1):
            run = await one(row, seed, labs, version=version, evidence=evidence)
            book.add(run)
            left_min = (time.monotonic() - began) / n * (len(todo) - n) / 60
            say.print(f"{n}/{len(todo)} {_in_words(run)}; {left_min:.0f} min left", markup=False)
    finally:
        await labs.drop()


def _in_words(run: Entry) -> str:
    what = f"{run['name']} {run['seed']}: {run['script']}: {run['outcome']}"
    if run["outcome"] == HARNESS:
        return f"{what}: {run['note']}"
    rto = "" if run["rto_s"] is None else f", {run['rto_s']:.1f} s"
    broken = f"; BROKEN: {'; '.join(run['violations'])}" if run["violations"] else ""
    return (
        f"{what}{rto}, {run['lost_acked']} lost, {run['dual_primary']} by a second owner, {run['took_s']:.0f} s{broken}"
    )


def main(argv: Sequence[str]) -> int:
    """Read the options, play, show the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m evac.lab.matrix", description="Real faults in every mode.")
    parser.add_argument("--only", default="", help="part of a row's name, or a pattern with * (default: all)")
    parser.add_argument("--runs", type=int, default=1, help="seeds a row (1)")
    parser.add_argument("--out", type=Path, default=Path("build/matrix.json"))
    parser.add_argument("--json", action="store_true", help="print the runs as JSON instead of a table")
    options = parser.parse_args(argv)
    say = Console(highlight=False, stderr=options.json, soft_wrap=not sys.stdout.isatty())
    rows = select(options.only)
    if not rows or options.runs < 1:
        say.print(
            f"nothing is called {options.only}, or no runs are wanted; rows:", *(r.name for r in ROWS), sep="\n  "
        )
        return 2
    try:
        book = Book.read(options.out)
    except BookError as error:
        say.print(str(error), markup=False)
        return 2
    version = version_of(Path(evac.__file__).parent)
    evidence = options.out.with_suffix("")
    interrupted = False
    try:
        asyncio.run(matrix(rows, book, seeds=options.runs, version=version, evidence=evidence, say=say))
    except KeyboardInterrupt:
        interrupted = True
    runs = book.of([row.name for row in rows], seeds=options.runs, version=version)
    if options.json:
        print(json.dumps({"runs": runs}, indent=1))
    else:
        say.print(table.as_table(runs) if sys.stdout.isatty() else table.as_plain(runs), markup=False)
        say.print(f"{table.summary(runs)}; written to {options.out}", markup=False)
    if interrupted:
        say.print("interrupted; the same command goes on from here")
        return 130
    return 1 if any(run["violations"] or run["outcome"] == HARNESS for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
