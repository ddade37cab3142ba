"""A store in one SQLite file: durable, shared by the processes of one machine, nothing to install.

Intuition: one table of newest values, one of the latest changes, one number that counts commits. A commit is one
`BEGIN IMMEDIATE` transaction in WAL mode with `synchronous = FULL`, so it is on the disk when it returns. A key's
version is the number of the commit that wrote it: it cannot repeat, even after a deletion. Watchers of this process
hear of a commit at once; a thread asks SQLite every `POLL` whether another process has written (`PRAGMA
data_version`, a look into shared memory).

A file that was copied or restored is another life: the file's own identity (device and inode) is kept in it, and when
it is found elsewhere a new incarnation is written. A backup copied *over* the same file cannot be told apart; restore
beside it and move.

What this is not: for several machines. SQLite must not be put on a network file system.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from evac.core.errors import Conflict, StoreUnavailable
from evac.ports import Change, Record, StoreHealth, StoreMember
from evac.stores.feed import KEPT_MAX, Feed, no_longer_kept
from evac.stores.rules import check_commit, check_life

T = TypeVar("T")

POLL = 0.02
"""Seconds between two looks whether another process has written."""
BUSY = 5.0
"""Seconds a commit waits for another process's; then the store counts as unavailable."""
TRIM_EVERY = 256
"""Changes older than the feed keeps are dropped each time so many commits have been made."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS life (id INTEGER PRIMARY KEY CHECK (id = 1), incarnation TEXT NOT NULL,
    file TEXT NOT NULL, revision INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (revision INTEGER NOT NULL, key TEXT NOT NULL, value BLOB,
    PRIMARY KEY (revision, key)) STRICT, WITHOUT ROWID;
"""


class SqliteStore:
    """Implements `evac.ports.Store`. Made by `open`."""

    def __init__(self, path: Path, *, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._writing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="evac-store-write")
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="evac-store-read")
        self._feed = Feed(revision=_revision(reader))
        self._closed = False
        self._stop = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._listener = threading.Thread(target=self._listen, name="evac-store-listen", daemon=True)
        self._listener.start()

    @classmethod
    async def open(cls, path: Path) -> SqliteStore:
        """Open a store, made new if the file is not there. Raises `StoreUnavailable`, saying what to look at."""
        writer, reader = await asyncio.to_thread(_open_both, path)
        return cls(path, writer=writer, reader=reader)

    async def get(self, key: str, *, near: bool = False) -> Record | None:
        return await self._read(lambda db: _get(db, key))

    async def list(self, prefix: str, *, near: bool = False) -> tuple[Record, ...]:
        return await self._read(lambda db: _list(db, prefix))

    async def commit(
        self,
        *,
        expect: Mapping[str, int],
        put: Mapping[str, bytes],
        delete: Collection[str] = (),
        lasting: bool = True,
        life: str | None = None,
    ) -> int:
        check_commit(expect=expect, put=put, delete=delete)
        wanted, values, gone = dict(expect), dict(put), tuple(delete)
        revision, changes = await self._write(lambda db: _commit(db, wanted, values, gone, lasting=lasting, life=life))
        if revision == self._feed.revision + 1:
            self._feed.publish(changes, revision=revision)
        # Otherwise another process's commits lie between: the listener brings them all, in order, within `POLL`.
        return revision

    async def watch(self, prefix: str, *, after: int) -> AsyncGenerator[Change, None]:
        upto = self._feed.revision
        if not self._feed.reaches(after):
            for change in await self._read(lambda db: _changes(db, after=after, upto=upto)):
                if change.key.startswith(prefix):
                    yield change
            after = upto
        async for change in self._feed.follow(prefix, after=after):
            yield change

    async def revision(self) -> int:
        return await self._read(_revision)

    async def incarnation(self) -> str:
        return await self._read(_incarnation)

    async def health(self) -> StoreHealth:
        """Return how the file is (`ports.Inspectable`): it may take what is free on its disk."""
        began = time.monotonic()
        try:
            await self.revision()
            read = timedelta(seconds=time.monotonic() - began)
        except StoreUnavailable:
            read = None
        size, free = await asyncio.to_thread(_sizes, self._path)
        member = StoreMember(name=str(self._path), up=read is not None, leads=True)
        return StoreHealth(kind="sqlite", members=(member,), read=read, size=size, limit=size + free)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._feed.close()
        self._stop.set()
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._listener.join()
        for executor, db in ((self._writing, self._writer), (self._reading, self._reader)):
            executor.submit(db.close).result()
            executor.shutdown()

    async def _read(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        return await self._in_thread(self._reading, self._reader, ask)

    async def _write(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        return await self._in_thread(self._writing, self._writer, ask)

    async def _in_thread(
        self, executor: ThreadPoolExecutor, db: sqlite3.Connection, ask: Callable[[sqlite3.Connection], T]
    ) -> T:
        if self._closed:
            raise StoreUnavailable(f"the store {self._path} is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, ask, db)
        except sqlite3.Error as error:
            raise _unavailable(self._path, error) from error

    def _listen(self) -> None:
        """Bring what other processes commit into the feed. Runs in a thread of its own until the store is closed."""
        db = _connect(self._path)
        try:
            seen = -1
            while not self._stop.wait(POLL):
                seen = self._look(db, seen)
        finally:
            db.close()

    def _look(self, db: sqlite3.Connection, seen: int) -> int:
        """Bring what is new since the data version `seen`, and return the one that was found."""
        try:
            version: int = db.execute("PRAGMA data_version").fetchone()[0]
            if version == seen:
                return seen
            upto = _revision(db)
            changes = _changes(db, after=self._feed.revision, upto=upto)
        except sqlite3.Error:
            return seen  # the next look tries again; until then the feed is late, not wrong
        except StoreUnavailable:
            self._loop.call_soon_threadsafe(self._feed.skip, upto)
        else:
            self._loop.call_soon_threadsafe(self._publish, changes, upto)
        return version

    def _publish(self, changes: Iterable[Change], revision: int) -> None:
        self._feed.publish(tuple(changes), revision=revision)


def _sizes(path: Path) -> tuple[int, int]:
    """Return how many bytes the store's files take, and how many are free where they are."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(f.stat().st_size for f in files if f.exists()), shutil.disk_usage(path.parent).free


def _unavailable(path: Path, error: sqlite3.Error) -> StoreUnavailable:
    return StoreUnavailable(f"the store {path}: {error}; look at the disk's space and rights, then try again")


def _open_both(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    try:
        writer = _connect(path)
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA synchronous = FULL")
        writer.executescript(SCHEMA)
        _be_born(writer, path)
        return writer, _connect(path)
    except sqlite3.Error as error:
        raise _unavailable(path, error) from error


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)


def _be_born(db: sqlite3.Connection, path: Path) -> None:
    """Give a new file, or one that was copied, an incarnation of its own."""
    stat = path.stat()
    file = f"{stat.st_dev}:{stat.st_ino}"
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT OR IGNORE INTO life VALUES (1, ?, ?, 0)", (uuid.uuid4().hex, file))
    db.execute("UPDATE life SET incarnation = ?, file = ? WHERE file <> ?", (uuid.uuid4().hex, file, file))
    db.execute("COMMIT")


def _revision(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT revision FROM life").fetchone()[0])


def _incarnation(db: sqlite3.Connection) -> str:
    return str(db.execute("SELECT incarnation FROM life").fetchone()[0])


def _get(db: sqlite3.Connection, key: str) -> Record | None:
    row = db.execute("SELECT value, version FROM records WHERE key = ?", (key,)).fetchone()
    return Record(key=key, value=row[0], version=row[1]) if row else None


def _list(db: sqlite3.Connection, prefix: str) -> tuple[Record, ...]:
    rows = db.execute(
        "SELECT key, value, version FROM records WHERE key >= ? AND substr(key, 1, ?) = ? ORDER BY key",
        (prefix, len(prefix), prefix),
    )
    return tuple(Record(key=key, value=value, version=version) for key, value, version in rows)


def _changes(db: sqlite3.Connection, *, after: int, upto: int) -> list[Change]:
    """The changes of some commits. Raises `StoreUnavailable` when they are no longer kept."""
    oldest = max(upto - KEPT_MAX, 0)
    if after < oldest:
        raise StoreUnavailable(no_longer_kept(after))
    rows = db.execute(
        "SELECT revision, key, value FROM changes WHERE revision > ? AND revision <= ? ORDER BY revision", (after, upto)
    )
    return [
        Change(key=k, record=None if v is None else Record(key=k, value=v, version=r), revision=r) for r, k, v in rows
    ]


def _commit(
    db: sqlite3.Connection,
    expect: Mapping[str, int],
    put: Mapping[str, bytes],
    delete: Collection[str],
    *,
    lasting: bool,
    life: str | None,
) -> tuple[int, list[Change]]:
    """One transaction: check, write, count. On any error nothing of it stays.

    What need not last is left to the system to write (`synchronous = NORMAL`); the next lasting commit's sync is of the
    same file and takes it along.
    """
    db.execute(f"PRAGMA synchronous = {'FULL' if lasting else 'NORMAL'}")
    db.execute("BEGIN IMMEDIATE")
    try:
        check_life(life, _incarnation(db))
        for key, version in expect.items():
            row = db.execute("SELECT version FROM records WHERE key = ?", (key,)).fetchone()
            if (row[0] if row else 0) != version:
                raise Conflict(f"{key} is at version {row[0] if row else 0}, {version} was expected")
        revision = _revision(db)
        changes = _apply(db, revision + 1, put, delete) if put or delete else []
        if put or delete:
            revision += 1
            db.execute("UPDATE life SET revision = ?", (revision,))
        if changes and revision % TRIM_EVERY == 0:
            db.execute("DELETE FROM changes WHERE revision <= ?", (revision - KEPT_MAX,))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return revision, changes


def _apply(db: sqlite3.Connection, revision: int, put: Mapping[str, bytes], delete: Collection[str]) -> list[Change]:
    changes: list[Change] = []
    for key, value in put.items():
        db.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", (key, value, revision))
        record = Record(key=key, value=value, version=revision)
        changes.append(Change(key=key, record=record, revision=revision))
    gone = [key for key in delete if db.execute("DELETE FROM records WHERE key = ?", (key,)).rowcount]
    changes += [Change(key=key, record=None, revision=revision) for key in gone]
    db.executemany(
        "INSERT INTO changes VALUES (?, ?, ?)",
        [(revision, c.key, c.record.value if c.record else None) for c in changes],
    )
    return changes
