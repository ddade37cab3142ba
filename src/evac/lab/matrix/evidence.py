"""What is kept of a run that broke a promise, or could not be played: logs, histories, journals, the last view."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

from evac.engine.codec import to_plain
from evac.engine.verifying import write_record
from evac.lab.bench.stage import Stage
from evac.lab.matrix.book import Entry
from evac.opened import OpenEstate

READ_WAIT_S = 20.0
KEPT = ("*.log", "*/*.log", "*/*/*.log", "clients-*/history.jsonl")
"""What of a lab is evidence, as patterns in its folder: logs, and what clients heard."""


async def keep(on: Stage | None, lab: Path, folder: Path, run: Entry) -> None:
    """Keep what tells how a run came about: it would be gone with the lab."""
    copy(lab, folder)
    write(folder / "run.json", run)
    if on is None:
        return
    try:
        async with asyncio.timeout(READ_WAIT_S):
            await tell(on.estate, folder)
    except Exception as error:  # what cannot be read must not end the matrix
        write(folder / "unread.json", in_one_line(error))


async def tell(estate: OpenEstate, folder: Path) -> None:
    """Keep what the store says: the record of each run, as `evac verify` reads it, and the last view."""
    for run in await estate.runs():
        (folder / f"run-{run.id}.jsonl").write_bytes(write_record(await estate.record(run.id)))
    write(folder / "view.json", to_plain(await estate.last_known()))


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


def in_one_line(error: BaseException) -> str:
    """Return an error, or those in a group, in one line."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(in_one_line(each) for each in error.exceptions)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
