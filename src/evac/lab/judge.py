"""From the clients' folders and the rows that are left to a judgement: the one way a demo, a drill and a bench decide.

It reads files and nothing else; the rows come from `rows`, which has to run where the servers can be reached.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from evac.lab import checker, history
from evac.lab.checker import Verdict
from evac.lab.clients.record import HISTORY
from evac.lab.history import Write


def heard(folders: Iterable[Path], *, store: str) -> tuple[Write, ...]:
    """Return what several groups of clients asked of a store and heard, in order of time."""
    found: list[Write] = []
    for folder in folders:
        with (folder / HISTORY).open() as lines:
            found += (write for write in history.read(lines) if write.store == store)
    return tuple(sorted(found, key=lambda write: write.invoked))


def judge(
    folders: Sequence[Path], *, rows: Mapping[str, Sequence[str]], orphans: Collection[str] | None = None
) -> Mapping[str, Verdict]:
    """Judge each store of which rows are given. `orphans` are ids of orders, as for `checker.check`."""
    return {
        store: checker.check(heard(folders, store=store), rows=present, orphans=orphans if store == "orders" else None)
        for store, present in rows.items()
    }


def orphaned_orders(file: Path) -> tuple[str, ...]:
    """Return the ids of the orders in a file of orphaned writes: one JSON object a transaction, with its changes.

    Other stores' files have other lines, or are a copy of the whole store in a form of its own (`.rdb`); they hold no
    orders.
    """
    if file.suffix != ".jsonl":
        return ()
    changes = (change for line in file.read_text().splitlines() for change in json.loads(line).get("changes", ()))
    return tuple(str(change["row"]["id"]) for change in changes if change.get("table") == "ledger")
