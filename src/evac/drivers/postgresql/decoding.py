"""What `test_decoding` says of each transaction, as values: the rows that were written, by column.

Intuition: the plug-in prints one line for a change, `table public.orders: INSERT: id[bigint]:7 note[text]:'it''s'`.
Values stay text, as the server printed them; a line that does not read is kept as it is, so nothing is ever dropped
because this reader did not know it.

What this is not: SQL that could be replayed. Whether an orphaned write still has a meaning is for people.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from evac.core.observation import Json
from evac.drivers.postgresql.naming import position

_BEGIN = re.compile(r"^BEGIN (\d+)$")
_COMMIT = re.compile(r"^COMMIT (\d+)(?: \(at (.+)\))?$")
_CHANGE = re.compile(
    r"^table ((?:\"(?:[^\"]|\"\")+\"|[^\s.\":])+)\.(.+?): (INSERT|UPDATE|DELETE|TRUNCATE):(.*)$", re.DOTALL
)
_COLUMN = re.compile(
    r"\s*((?:\"(?:[^\"]|\"\")+\")|[^\s\[\]:]+)\[((?:[^\[\]]|\[\])+)\]:"
    r"(null|unchanged-toast-datum|B?'(?:[^']|'')*'|[^\s']+)",
    re.DOTALL,
)
OWN_SCHEMA = "evac"


@dataclass(slots=True, kw_only=True)
class Transaction:
    """One committed transaction. `end` is the position behind its commit record."""

    xid: int
    end: int = 0
    committed_at: str = ""
    changes: list[dict[str, Json]] = field(default_factory=list)

    def line(self) -> dict[str, Json]:
        """Return it as one line of an orphans file."""
        changes: list[Json] = [*self.changes]
        return {"xid": self.xid, "commit_end": self.end, "committed_at": self.committed_at, "changes": changes}


def transactions(decoded: Iterable[tuple[str, str]]) -> Iterator[Transaction]:
    """Yield the transactions of a slot's output, pairs of position and text, in commit order."""
    current: Transaction | None = None
    for where, text in decoded:
        if begin := _BEGIN.match(text):
            current = Transaction(xid=int(begin[1]))
        elif commit := _COMMIT.match(text):
            done = current or Transaction(xid=int(commit[1]))
            done.end, done.committed_at, current = position(where), commit[2] or "", None
            yield done
        elif current is not None:
            current.changes.append(change(text))


def change(text: str) -> dict[str, Json]:
    """Return one change: table, operation and the row's columns; the plain text where it does not read."""
    match = _CHANGE.match(text)
    if not match:
        return {"text": text}
    said: dict[str, Json] = {"schema": match[1], "table": match[2], "op": match[3]}
    body = match[4]
    if " new-tuple:" in body and body.lstrip().startswith("old-key:"):
        old, _, body = body.partition(" new-tuple:")
        said["old"] = _columns(old.replace("old-key:", "", 1)) or {"text": old}
    row = _columns(body)
    return {**said, "row": row} if row is not None else {**said, "text": body.strip()}


def only_evac(transaction: Transaction) -> bool:
    """Say whether a transaction touched nothing but evac's own rows, which nobody will miss."""
    return bool(transaction.changes) and all(c.get("schema") == OWN_SCHEMA for c in transaction.changes)


def _columns(body: str) -> dict[str, Json] | None:
    row: dict[str, Json] = {}
    at = 0
    while match := _COLUMN.match(body, at):
        row[match[1].strip('"').replace('""', '"')] = _value(match[3])
        at = match.end()
    return row if row and not body[at:].strip() else None


def _value(text: str) -> Json:
    if text == "null":
        return None
    if text.endswith("'"):
        return text.removeprefix("B")[1:-1].replace("''", "'")
    return text
