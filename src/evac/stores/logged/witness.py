"""How far a process has read a log, noted in a file for the next one: so a restore between the two is noticed.

What this is not: needed. Where it cannot be read or written there is no note, and one eye less.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from evac.stores.logged.replica import Noted


def noted_in(file: Path | None) -> Noted:
    """Return what an earlier process noted; a note that is not there, or cannot be read, is none."""
    if file is not None:
        with suppress(OSError, ValueError, TypeError, KeyError):
            said = json.loads(file.read_text())
            return Noted(count=int(said["count"]), digest=str(said["digest"]), born=str(said["born"]))
    return Noted()


def note(file: Path | None, noted: Noted) -> None:
    """Note how far a log was read. Where that cannot be written, there is no note."""
    if file is None or not noted.count:
        return
    fresh = file.with_suffix(".new")
    with suppress(OSError):
        fresh.write_text(json.dumps(asdict(noted)))
        os.replace(fresh, file)
