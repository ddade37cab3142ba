"""Consul's HTTP API as it is documented, for tests: a real HTTP server a port, one datacenter behind them. No Consul.

What it does as the documentation of the API says (KV store, transactions, blocking queries, consistency, ACLs, and the
limits of agents with default settings), read beside Consul's own source where the documentation is silent:
- one index for all writes; a write that changes nothing keeps its index; a list's index is the highest in it, or of
  what was deleted from it, else that of the store;
- `cas`, `keys`, `separator`, `recurse`, `index` and `wait` for keys;
- at most 64 operations in a transaction, and all of them or none;
- values and transactions up to 512 KiB; keys of letters, digits and `,-_./` that do not end as files do;
- a token may use what lies under its prefix; without the right a key is refused, and lists are shorter.

What it is not: consensus, an agent's cache, sessions, or anything that Consul does beside its documentation. What is
wrong with it is told to it: an agent may be silent, closed, without a leader, or lose its answers.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

VALUE_BYTES_MAX = 512 * 1024
OPERATIONS_MAX = 64
_KEY = re.compile(r"[A-Za-z0-9,._/-]+")
_LIKE_FILES = (".js", ".json", ".txt", ".log", ".sh", ".pl", ".com", ".gz", ".css", ".html", ".xml", ".py")


class Refused(Exception):
    """Answer with this status and these words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A key's value."""

    key: str
    value: bytes
    created: int
    modified: int

    def shown(self, *, bare: bool = False) -> dict[str, Any]:
        value = None if bare or not self.value else base64.b64encode(self.value).decode()
        indexes = {"CreateIndex": self.created, "ModifyIndex": self.modified, "LockIndex": 0}
        return {"Key": self.key, "Value": value, "Flags": 0, **indexes}


@dataclass(slots=True, kw_only=True)
class Fault:
    """What is wrong with one agent."""

    speaking: threading.Event = field(default_factory=threading.Event)
    """Cleared, it takes questions and answers none until it is set again."""
    leaderless: bool = False
    loses_answers: bool = False
    """It does what it is asked, and hangs up."""

    def __post_init__(self) -> None:
        self.speaking.set()


@dataclass(slots=True, kw_only=True)
class Datacenter:
    """What all agents share. `tokens` maps each token to the prefix it may use; empty: everybody may all."""

    tokens: Mapping[str, str] = field(default_factory=dict)
    pairs: dict[str, Pair] = field(default_factory=dict)
    graves: dict[str, int] = field(default_factory=dict)
    read_only: bool = False
    """Whether the right to write is taken from all."""
    index: int = 10
    changed: threading.Condition = field(default_factory=threading.Condition)

    def snapshot(self) -> dict[str, Pair]:
        """Return what `consul snapshot save` keeps."""
        with self.changed:
            return dict(self.pairs)

    def restore(self, pairs: Mapping[str, Pair]) -> None:
        """Do as `consul snapshot restore` does: all is as it was, and the index goes on upwards."""
        with self.changed:
            self.pairs, self.graves = dict(pairs), {}
            self.index += 1
            self.changed.notify_all()

    def under(self, prefix: str) -> list[Pair]:
        return [self.pairs[key] for key in sorted(self.pairs) if key.startswith(prefix)]

    def index_of(self, prefix: str) -> int:
        """Return the index of a list, or of a key."""
        inside = [pair.modified for pair in self.under(prefix)]
        gone = [at for key, at in self.graves.items() if key.startswith(prefix)]
        return max(inside + gone, default=0) or self.index

    def put(self, key: str, value: bytes, *, at: int) -> Pair:
        old = self.pairs.get(key)
        if old is None or old.value != value:
            self.pairs[key] = Pair(key=key, value=value, created=old.created if old else at, modified=at)
        return self.pairs[key]

    def delete(self, key: str, *, at: int) -> None:
        if self.pairs.pop(key, None) is not None:
            self.graves[key] = at

    def transact(self, operations: list[Any]) -> tuple[list[Any], list[Any]]:
        """Return results and errors; with errors nothing has changed."""
        before, graves, at = dict(self.pairs), dict(self.graves), self.index + 1
        results: list[Any] = []
        errors = []
        for number, operation in enumerate(operations):
            try:
                results += self._operate(operation["KV"], at)
            except ValueError as error:
                errors.append({"OpIndex": number, "What": str(error)})
        if errors:
            self.pairs, self.graves = before, graves
            return [], errors
        if self.pairs != before:
            self.index = at
            self.changed.notify_all()
        return results, []

    def _operate(self, kv: Mapping[str, Any], at: int) -> list[Any]:
        key, wanted, old = str(kv["Key"]), int(kv.get("Index", 0)), self.pairs.get(str(kv["Key"]))
        value = base64.b64decode(kv.get("Value") or "")
        if len(value) > VALUE_BYTES_MAX:
            raise Refused(413, f"Value for key {key!r} is too large ({len(value)} > {VALUE_BYTES_MAX} bytes)")
        match kv["Verb"]:
            case "get" if old is not None:
                return [{"KV": old.shown()}]
            case "get":
                raise ValueError(f"key {key!r} doesn't exist")
            case "check-index" if old is not None and old.modified == wanted:
                return [{"KV": old.shown(bare=True)}]
            case "check-index":
                raise ValueError(f"failed index check for key {key!r}")
            case "cas" if (old.modified if old else 0) == wanted:
                return [{"KV": self.put(key, value, at=at).shown(bare=True)}]
            case "cas":
                raise ValueError(f"failed to set key {key!r}, index is stale")
            case verb:
                raise ValueError(f"unknown KV verb {verb!r}")


class _Agent(ThreadingHTTPServer):
    """One agent's port."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, datacenter: Datacenter) -> None:
        super().__init__(("127.0.0.1", 0), _Question)
        self.datacenter = datacenter
        self.fault = Fault()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asks may go away at any time."""


class _Question(BaseHTTPRequestHandler):
    """One connection's questions."""

    protocol_version = "HTTP/1.1"
    server: _Agent
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.fault
        fault.speaking.wait()
        try:
            if fault.leaderless:
                raise Refused(500, "No cluster leader")
            status, said, index = self._do(body)
        except Refused as refused:
            status, said, index = refused.status, refused.words, None
        if fault.loses_answers:
            self.close_connection = True
            return
        content = said.encode() if isinstance(said, str) else b"" if said is None else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if index is not None:
            self.send_header("X-Consul-Index", str(index))
            self.send_header("X-Consul-KnownLeader", "true")
        self.end_headers()
        self.wfile.write(content)

    def _do(self, body: bytes) -> tuple[int, Any, int | None]:
        url = urlsplit(self.path)
        where = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        if where.get("dc", "dc1") != "dc1":
            raise Refused(500, "No path to datacenter")
        path, token, tokens = unquote(url.path), self.headers.get("X-Consul-Token"), self.server.datacenter.tokens
        if tokens and token is not None and token not in tokens:
            raise Refused(403, "rpc error making call: ACL not found")
        with self.server.datacenter.changed:
            if path == "/v1/status/leader":
                return 200, '"127.0.0.1:8300"', None
            if path == "/v1/txn" and self.command == "PUT":
                return self._transact(body)
            if path.startswith("/v1/kv/"):
                return self._keep(path.removeprefix("/v1/kv/"), where, body)
        raise Refused(404, "")

    def _may(self, key: str) -> bool:
        tokens = self.server.datacenter.tokens
        prefix = tokens.get(self.headers.get("X-Consul-Token", ""))
        return not tokens or (prefix is not None and key.startswith(prefix))

    def _need(self, key: str) -> None:
        if not _KEY.fullmatch(key) or key.startswith("/") or key.lower().endswith(_LIKE_FILES):
            raise Refused(400, f"key {key!r} is refused")
        if not self._may(key):
            raise Refused(403, "Permission denied: token lacks permission 'key:write'")

    def _transact(self, body: bytes) -> tuple[int, Any, int | None]:
        if len(body) > VALUE_BYTES_MAX:
            raise Refused(413, f"Request body too large, max size: {VALUE_BYTES_MAX} bytes")
        operations = json.loads(body)
        if len(operations) > OPERATIONS_MAX:
            raise Refused(413, f"Transaction contains too many operations ({len(operations)} > {OPERATIONS_MAX})")
        reads = ("get", "check-index")
        denied = [
            n
            for n, kv in enumerate(operation["KV"] for operation in operations)
            if not self._may(kv["Key"]) or (self.server.datacenter.read_only and kv["Verb"] not in reads)
        ]
        if denied:
            errors = [{"OpIndex": n, "What": "Permission denied: token lacks permission"} for n in denied]
            return 409, {"Results": None, "Errors": errors}, None
        results, errors = self.server.datacenter.transact(operations)
        return (409 if errors else 200), {"Results": results or None, "Errors": errors or None}, None

    def _keep(self, key: str, where: Mapping[str, str], body: bytes) -> tuple[int, Any, int | None]:
        datacenter = self.server.datacenter
        match self.command:
            case "GET" if "keys" in where:
                return self._list(key, where)
            case "GET":
                self._need(key)
                pair = datacenter.pairs.get(key)
                return (404, None, datacenter.index) if pair is None else (200, [pair.shown()], pair.modified)
            case "PUT":
                self._need(key)
                if len(body) > VALUE_BYTES_MAX:
                    raise Refused(413, f"Request body({len(body)} bytes) too large, max size: {VALUE_BYTES_MAX} bytes")
                kv = {"Key": key, "Value": base64.b64encode(body).decode(), "Verb": "cas", "Index": int(where["cas"])}
                return 200, not datacenter.transact([{"KV": kv}])[1], None
            case _:
                return self._delete(key, where)

    def _list(self, prefix: str, where: Mapping[str, str]) -> tuple[int, Any, int]:
        datacenter, index = self.server.datacenter, int(where.get("index", 0))
        if index:
            end = time.monotonic() + float(where.get("wait", "300s").removesuffix("s"))
            while datacenter.index_of(prefix) <= index and (left := end - time.monotonic()) > 0:
                datacenter.changed.wait(left)
        keys = [pair.key for pair in datacenter.under(prefix) if self._may(pair.key)]
        if separator := where.get("separator"):
            cut = [key[: key.find(separator, len(prefix)) + 1] or key for key in keys]
            keys = sorted(set(cut))
        return (200 if keys else 404), keys or None, datacenter.index_of(prefix)

    def _delete(self, key: str, where: Mapping[str, str]) -> tuple[int, Any, int | None]:
        datacenter = self.server.datacenter
        self._need(key.rstrip("/"))
        gone = [pair.key for pair in datacenter.under(key)] if "recurse" in where else [key]
        datacenter.index += 1
        for each in gone:
            datacenter.delete(each, at=datacenter.index)
        datacenter.changed.notify_all()
        return 200, True, None


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A datacenter, and its agents' ports and faults."""

    datacenter: Datacenter
    endpoints: tuple[str, ...]
    faults: tuple[Fault, ...]


@contextlib.contextmanager
def running(
    count: int = 3, *, tokens: Mapping[str, str] | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Running]:
    """Serve a datacenter by so many agents, for as long as the context lives."""
    datacenter = Datacenter(tokens=tokens or {})
    agents = [_Agent(datacenter) for _ in range(count)]
    threads = []
    for agent in agents:
        if tls is not None:
            agent.socket = tls.wrap_socket(agent.socket, server_side=True, do_handshake_on_connect=False)
        threads.append(threading.Thread(target=agent.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True))
        threads[-1].start()
    endpoints = tuple(f"127.0.0.1:{agent.server_address[1]}" for agent in agents)
    try:
        yield Running(datacenter=datacenter, endpoints=endpoints, faults=tuple(agent.fault for agent in agents))
    finally:
        for agent in agents:
            agent.fault.speaking.set()
            agent.shutdown()
            agent.server_close()
