"""The statements that every verb is built from: the guard of the term, settings, and waits that the server does itself.

Intuition: a batch travels in one round trip, so the check "has this member seen a higher term" cannot be a question
that evac waits for. It is a block that ends its own session when it fails: what was sent behind it is never run.
The term itself is kept as the setting `evac.term` by `ALTER SYSTEM`: durable, on primaries and standbys alike, and
read from the file, not from memory, so that a server which has not reloaded yet answers rightly.

What this is not: a lock. Orders for one member come from one agent, one after the other.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from psycopg import sql

from evac.core.plan import Term
from evac.drivers.postgresql.session import INDETERMINATE, REFUSES


class Must(StrEnum):
    """What the member must be for a verb to make sense."""

    STANDBY = "a standby"
    PRIMARY = "a primary"
    EITHER = "either"


_TERM = "(SELECT setting::bigint FROM pg_file_settings WHERE name = 'evac.term' ORDER BY seqno DESC LIMIT 1)"

STORED_TERM = f"SELECT {_TERM}"
"""Asks for the highest term this member was told; null for none."""

_GUARD = sql.SQL(
    "DO $evac$ DECLARE stored bigint := "
    + _TERM
    + """; reason text;
BEGIN
  IF stored > {term} THEN
    reason := format('it has seen term %s, this order is of term {term}', stored);
  ELSIF {must} <> 'either' AND pg_is_in_recovery() <> ({must} = 'a standby') THEN
    reason := format('it is not %s', {must});
  ELSIF {unless} THEN
    reason := {because};
  END IF;
  IF reason IS NOT NULL THEN
    RAISE WARNING '{refuses}%', reason;
    PERFORM pg_terminate_backend(pg_backend_pid());
    PERFORM pg_sleep(3600);
  END IF;
END $evac$"""
)

RELOAD = "SELECT pg_reload_conf()"


def guard(term: Term, must: Must, *, unless: str = "false", because: str = "") -> sql.Composable:
    """Return the statement that ends the session unless the member is what it must be and knows no higher term.

    `unless` is one more SQL condition that ends it, `because` its reason.
    """
    return _GUARD.format(
        term=sql.Literal(int(term)),
        must=sql.Literal(str(must)),
        refuses=sql.SQL(REFUSES),
        unless=sql.SQL(unless),
        because=sql.Literal(because),
    )


def setting(name: str, value: str) -> sql.Composable:
    """Return the statement that sets a server setting durably."""
    return sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(*name.split(".")), sql.Literal(value))


def store_term(term: Term) -> sql.Composable:
    """Return the statement that makes the member remember a term."""
    return setting("evac.term", str(int(term)))


def wait_until(
    condition: str, *, within: timedelta, failing: str, times: int = 1, code: str = INDETERMINATE
) -> sql.Composable:
    """Return a block that waits on the server, 2 ms at a time, until an SQL condition held `times` times in a row.

    When the time runs out it raises `code` (by default what becomes `Indeterminate`), with `failing` as its reason.
    """
    block = """DO $evac$
DECLARE deadline timestamptz := clock_timestamp() + interval '{seconds} s'; seen integer := 0;
BEGIN
  LOOP
    PERFORM pg_stat_clear_snapshot();
    IF {condition} THEN seen := seen + 1; ELSE seen := 0; END IF;
    EXIT WHEN seen >= {times};
    IF clock_timestamp() > deadline THEN
      RAISE EXCEPTION USING errcode = '{code}', message = {failing};
    END IF;
    PERFORM pg_sleep(0.002);
  END LOOP;
END $evac$"""
    return sql.SQL(block).format(
        seconds=sql.Literal(within.total_seconds()),
        condition=sql.SQL(condition),
        times=sql.Literal(times),
        code=sql.SQL(code),
        failing=sql.Literal(failing),
    )


def file_setting(name: str) -> str:
    """Return the SQL expression of a setting's value as the files hold it now."""
    assert name.replace("_", "").replace(".", "").isalnum()
    return f"(SELECT setting FROM pg_file_settings WHERE name = '{name}' ORDER BY seqno DESC LIMIT 1)"
