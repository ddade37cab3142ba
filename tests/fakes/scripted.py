"""Members of an etcd cluster that answer as a test wants them to, over HTTP."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import timedelta

from evac.stores.etcd.members import Patience
from evac.stores.etcd.wire import STATUS

PATIENCE = Patience(attempt=timedelta(milliseconds=300), seek=timedelta(seconds=10), whole=timedelta(seconds=30))
HEADER = {"member_id": "1", "cluster_id": "1", "revision": "1", "raft_term": "1"}


@dataclass(slots=True, kw_only=True)
class Scripted:
    """A member that leads its cluster. It says so after `status_after`; to anything else `silent` says nothing."""

    silent: bool = False
    status_after: timedelta = timedelta()
    asked: int = 0
    """How many questions but for its status have come."""
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def hang_up(self) -> None:
        """Close every connection."""
        for writer in self.writers:
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path, length = (
                    head.split(b" ")[1].decode(),
                    head.lower().split(b"content-length: ")[1].split(b"\r\n")[0],
                )
                await reader.readexactly(int(length))
                if path == STATUS:
                    await asyncio.sleep(self.status_after.total_seconds())
                else:
                    self.asked += 1
                    if self.silent:
                        await reader.read()
                body = json.dumps({"header": HEADER, "leader": "1"}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        except asyncio.IncompleteReadError:
            pass
        finally:
            self.writers.discard(writer)
            writer.close()
