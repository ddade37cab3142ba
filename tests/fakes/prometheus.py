"""A server that answers the one question evac asks a Prometheus, from samples it is given."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs

Labels = tuple[tuple[str, str], ...]

_QUESTION = re.compile(
    r"timestamp\((\w+)\) \* \(2 \* \(\(\(\1 == \1\) >= bool (\S+)\)(?: \* \(\1 <= bool (\S+)\))?\) - 1\)"
)
_ENDED = re.compile(r"\(last_over_time\((\w+)\[1m\]\) or \1 offset 10m or \1 offset 1h\) unless \1")
LOOKBACK_S = 300.0


@dataclass(slots=True)
class FakePrometheus:
    """`series` maps labels to a value and the time it was sampled."""

    name: str = "well"
    series: dict[Labels, tuple[float, float]] = field(default_factory=dict)
    ended: dict[Labels, tuple[float, float]] = field(default_factory=dict)
    """What was among `series` within the last hour."""
    has_a_past: bool = True
    """Whether it answers what is asked of the past."""
    authorization: str = ""
    """What the header has to say; anything does when empty."""
    raw: bytes | None = None
    """Said instead of an answer."""
    asked: int = 0
    port: int = 0

    def answer(self, headers: Mapping[str, str], body: str) -> tuple[int, bytes]:
        self.asked += 1
        if self.authorization and headers.get("authorization") != self.authorization:
            return 401, b"Unauthorized\n"
        if self.raw is not None:
            return 200, self.raw
        query = parse_qs(body)["query"][0]
        if self.has_a_past and (found := _ENDED.fullmatch(query)):
            return 200, _vector(
                {"metric": dict(labels), "value": [round(time.time(), 3), str(value)]}
                for labels, (value, _) in self.ended.items()
                if found[1] == self.name and labels not in self.series
            )
        found = _QUESTION.fullmatch(query)
        if found is None:
            return 400, json.dumps({"status": "error", "errorType": "bad_data", "error": "parse error"}).encode()
        name, least, most = found[1], float(found[2]), float(found[3] or "inf")
        now = time.time()
        return 200, _vector(
            {"metric": dict(labels), "value": [round(now, 3), f"{'' if least <= value <= most else '-'}{at:.3f}"]}
            for labels, (value, at) in self.series.items()
            if name == self.name and now - at <= LOOKBACK_S and value == value
        )


def _vector(rows: Iterable[object]) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": [*rows]}}).encode()


@asynccontextmanager
async def fake_prometheus() -> AsyncIterator[FakePrometheus]:
    """Serve one on loopback."""
    fake = FakePrometheus()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:]
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines if line)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                status, said = fake.answer(headers, body.decode())
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(said)}\r\n\r\n".encode() + said)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        fake.port = server.sockets[0].getsockname()[1]
        yield fake
