"""etcd's JSON gateway: what is sent to it, what comes back, and what its errors mean.

Keys and values travel in base64, 64-bit numbers as text, and what has its default value is left out. An error is a
gRPC status; which of them are worth another try, with a new token or at another member, is written down here.

Source: etcd's `rpc.proto` and its page on the gRPC gateway; error texts from `api/v3rpc/rpctypes/error.go`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from evac.ports import Change, Record

Json = dict[str, Any]

RANGE, TXN, WATCH = "/v3/kv/range", "/v3/kv/txn", "/v3/watch"
COMPACT, STATUS, AUTHENTICATE = "/v3/kv/compaction", "/v3/maintenance/status", "/v3/auth/authenticate"
MOVE_LEADER = "/v3/maintenance/transfer-leadership"

_CANCELLED, _UNKNOWN, _DEADLINE, _EXHAUSTED = 1, 2, 4, 8
_ABORTED, _OUT_OF_RANGE, _INTERNAL, _UNAVAILABLE, _UNAUTHENTICATED = 10, 11, 13, 14, 16
_PASSING = frozenset({_CANCELLED, _UNKNOWN, _DEADLINE, _EXHAUSTED, _ABORTED, _INTERNAL, _UNAVAILABLE})
_LASTING = ("space exceeded", "larger than max")
"""What is sent as if it would pass, and does not."""
_STALE_TOKEN = ("invalid auth token", "revision of auth store is old", "revision in header is old")


class Remedy(StrEnum):
    """What to do about an error."""

    ELSEWHERE = "elsewhere"
    """Ask again, another member."""
    TOKEN = "token"
    """Ask again, with a new token: nothing happened."""
    TOKEN_OR_NONE = "token or none"
    """A watch with a token that is not known is refused as one without permission: with a new token it shows."""
    COMPACTED = "compacted"
    """What was asked for is no longer kept."""
    NONE = "none"
    """Asking again will not help until a person has mended something: nothing happened."""


class Trouble(Exception):
    """A member answered with an error."""

    def __init__(self, *, code: int, text: str) -> None:
        super().__init__(f"{text} ({code})")
        self.code = code
        self.text = text

    @property
    def remedy(self) -> Remedy:
        """What to do about it."""
        if self.code == _UNAUTHENTICATED or any(words in self.text for words in _STALE_TOKEN):
            return Remedy.TOKEN
        if self.code == _UNKNOWN and "permission denied" in self.text:
            return Remedy.TOKEN_OR_NONE
        if "compacted" in self.text:
            return Remedy.COMPACTED
        if self.code in _PASSING and not any(words in self.text for words in _LASTING):
            return Remedy.ELSEWHERE
        return Remedy.NONE

    @property
    def advice(self) -> str:
        """What a person can do about it, where that is known."""
        for words, advice in _ADVICE.items():
            if words in self.text:
                return advice
        return "see etcd's log"


_ADVICE = {
    "space exceeded": "its database is full: compact and defragment it, or raise --quota-backend-bytes; then"
    " `etcdctl alarm disarm`",
    "too many operations": "start its members with a larger --max-txn-ops",
    "too large": "start its members with a larger --max-request-bytes",
    "larger than max": "start its members with a larger --max-request-bytes",
    "invalid user ID or password": "look at the user in the store's URL and at the password file",
    "user name is empty": "it asks for a user: write etcd://user@host:port?password-file=PATH",
    "permission denied": "grant the user's role readwrite on the store's namespace",
    "authentication is not enabled": "leave the user out of the store's URL, or `etcdctl auth enable`",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How far a cluster had come when it answered. Linearizable answers never go back in any of it."""

    cluster: int = 0
    revision: int = 0
    term: int = 0

    def is_behind(self, other: Seen) -> bool:
        """Return whether this, asked later, cannot be the same life of the cluster as `other`."""
        return self.cluster != other.cluster or self.revision < other.revision or self.term < other.term


def seen(reply: Json) -> Seen:
    """Return how far the cluster was that gave a reply."""
    header = reply.get("header", {})
    return Seen(
        cluster=int(header.get("cluster_id", 0)),
        revision=int(header.get("revision", 0)),
        term=int(header.get("raft_term", 0)),
    )


def trouble(said: object) -> Trouble:
    """Return the error in an answer, as etcd 3.5 or 3.6 words it, within a stream or not."""
    body: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    inner = body.get("error")
    if isinstance(inner, Mapping):
        body = inner
    text = body.get("message") or body.get("error") or "an answer without words"
    return Trouble(code=int(body.get("grpc_code", body.get("code", _UNKNOWN))), text=str(text))


def cancelled(message: Json) -> Trouble:
    """Return why a member ended a watch by itself."""
    if int(message.get("compact_revision", 0)):
        return Trouble(code=_OUT_OF_RANGE, text="compacted")
    return Trouble(code=_UNKNOWN, text=str(message.get("cancel_reason", "the watch was ended")))


def b64(data: str | bytes) -> str:
    """Return what a key or value is sent as."""
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def unb64(text: str) -> bytes:
    """Return a key or value that was received."""
    return base64.b64decode(text)


def after_prefix(prefix: str) -> bytes:
    """Return the first key after all that begin with a prefix, which is not empty."""
    raw = prefix.encode()
    return raw[:-1] + bytes([raw[-1] + 1])  # UTF-8 has no byte 0xff


def get(key: str, *, keys_only: bool = False) -> Json:
    """Ask for one key, linearizably."""
    return {"key": b64(key), **({"keys_only": True} if keys_only else {})}


def nearby(question: Json) -> Json:
    """Ask the same of whichever member is asked, as it has it: without the others, and perhaps not the newest."""
    return {**question, "serializable": True}


def get_prefix(prefix: str, *, begin: bytes = b"", limit: int, revision: int = 0, keys_only: bool = False) -> Json:
    """Ask for the keys under a prefix, `begin` and later, sorted, at a revision (0: the newest)."""
    return {
        "key": b64(begin or prefix),
        "range_end": b64(after_prefix(prefix)),
        "limit": str(limit),
        "revision": str(revision),
        "keys_only": keys_only,
    }


def at_version(key: str, version: int) -> Json:
    """Compare: a key was last written by that revision; 0: it does not exist."""
    return {"key": b64(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(version)}


def transaction(*, compare: Iterable[Json], then: Iterable[Json], otherwise: Iterable[Json] = ()) -> Json:
    """Do all of `then` if all of `compare` holds, else all of `otherwise`."""
    return {"compare": [*compare], "success": [*then], "failure": [*otherwise]}


def put_op(key: str, value: bytes) -> Json:
    """Write a key, within a transaction."""
    return {"request_put": {"key": b64(key), "value": b64(value)}}


def delete_op(key: str) -> Json:
    """Delete a key, within a transaction."""
    return {"request_delete_range": {"key": b64(key)}}


def delete_prefix_op(prefix: str) -> Json:
    """Delete all keys under a prefix, within a transaction."""
    return {"request_delete_range": {"key": b64(prefix), "range_end": b64(after_prefix(prefix))}}


def get_op(key: str, *, keys_only: bool = False) -> Json:
    """Read a key, within a transaction."""
    return {"request_range": get(key, keys_only=keys_only)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A key as it was read; of one that does not exist, version 0."""

    key: str = ""
    value: bytes = b""
    version: int = 0


def found(reply: Json) -> list[Found]:
    """Return the keys in a range's reply."""
    return [_found(kv) for kv in reply.get("kvs", ())]


def found_one(reply: Json) -> Found:
    """Return the one key a range asked for, at version 0 when it does not exist."""
    return next(iter(found(reply)), Found())


def found_in(reply: Json) -> list[Found]:
    """Return what each read of a transaction's branch found, where each reads one key."""
    return [found_one(r["response_range"]) for r in reply.get("responses", ()) if "response_range" in r]


def _found(kv: Json) -> Found:
    return Found(
        key=unb64(kv["key"]).decode(errors="replace"),
        value=unb64(kv.get("value", "")),
        version=int(kv["mod_revision"]),
    )


def change(event: Json, *, root: str) -> Change:
    """Return a watch's event as a change of the key below `root`."""
    kv = _found(event["kv"])
    key = kv.key.removeprefix(root)
    gone = event.get("type") == "DELETE"
    return Change(
        key=key,
        record=None if gone else Record(key=key, value=kv.value, version=kv.version),
        revision=kv.version,
    )
