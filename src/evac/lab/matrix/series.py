"""Run after run: each in a lab that is well, each written down as it ends, whatever became of it."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from evac.lab.bench.stage import Stage, stage
from evac.lab.layout import Form, Mode, covering
from evac.lab.matrix.book import Book, Entry
from evac.lab.matrix.evidence import in_one_line, keep
from evac.lab.matrix.outcome import HARNESS, as_json, broken_harness
from evac.lab.matrix.play import home_of, play
from evac.lab.matrix.rows import Row, Script, draw

RUN_WAIT_S = 420.0


@dataclass(slots=True, kw_only=True)
class Labs:
    """The one lab that is up. It serves one run after the other as long as evac did nothing in it, nor called anybody:
    it is slow to do again what it has just done, and a second outage within a minute is another fault than the first.
    """

    folder: Path
    _shape: tuple[Mode, Form, timedelta | None] | None = None
    _stage: Stage | None = None
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def give(self, mode: Mode, form: Form, *, pause: timedelta | None = None) -> Stage:
        """Return a lab that is well, of that shape; with `pause`, one whose leases cover it. Raises `EvacError`."""
        if self._stage is None or self._shape != (mode, form, pause):
            await self.drop()
            shutil.rmtree(self.folder, ignore_errors=True)
            file = covering(pause, folder=self.folder.parent) if pause else None
            lab = stage(self.folder, mode=mode, form=form, file=file)
            self._stage = await self._stack.enter_async_context(lab)
            self._shape = (mode, form, pause)
        return self._stage

    async def drop(self) -> None:
        """End the lab, if one is up. Whatever ends badly with it is of no more interest."""
        self._stage, stack, self._stack = None, self._stack, AsyncExitStack()
        try:
            await stack.aclose()
        except Exception as error:
            print(f"the lab did not end well: {in_one_line(error)}", file=sys.stderr)


async def one(row: Row, seed: int, labs: Labs, *, version: str, evidence: Path) -> Entry:
    """Play one run; return what is written of it, also when it could not be played."""
    began = time.monotonic()
    script = Script(row=row, seed=seed, strikes=(), hold_s=0.0)
    on = None
    try:
        async with asyncio.timeout(RUN_WAIT_S):
            on = await labs.give(row.mode, row.form, pause=row.pause)
            primary = await home_of(on)
            standbys = [region for region in on.layout.regions if region != primary]
            script = draw(row, seed, primary=primary, standbys=standbys)
            seen = await play(script, on, primary=primary)
        run = as_json(script, seen, version=version, took_s=time.monotonic() - began)
    except Exception as error:  # a run that breaks the harness must not end the matrix
        run = broken_harness(script, in_one_line(error), version=version, took_s=time.monotonic() - began)
    if run["outcome"] == HARNESS or run["violations"]:
        await keep(on, labs.folder, evidence / row.name.replace("/", "-") / str(seed), run)
    if run["outcome"] == HARNESS or run["evac_runs"] or run["called"] or not run["whole"]:
        await labs.drop()
    return run


async def matrix(
    rows: Sequence[Row], book: Book, *, seeds: int, version: str, evidence: Path, say: Callable[[str], None]
) -> None:
    """Play what the file has not yet: every row with one seed, then every row with the next."""
    todo = [(r, s) for s in range(1, seeds + 1) for r in rows if not book.has(r.name, s, version=version)]
    labs = Labs(folder=evidence / "lab")
    began = time.monotonic()
    try:
        for n, (row, seed) in enumerate(todo, start=1):
            run = await one(row, seed, labs, version=version, evidence=evidence)
            book.add(run)
            left_min = (time.monotonic() - began) / n * (len(todo) - n) / 60
            say(f"{n}/{len(todo)} {_in_words(run)}; {left_min:.0f} min left")
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
