"""The core's values as canonical JSON, and back.

Intuition: what is written must be the same bytes for the same value, so that a plan can be pinned by its hash and a
journal replayed anywhere: keys sorted, no spaces, durations as whole microseconds, moments in ISO 8601. Of a union
each value carries its class in `is`. Unknown keys are refused: a record of a newer evac is not guessed at.

What this is not: the estate file's form (`evac.config`), or what people read.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, overload

import cattrs
from cattrs.gen import make_dict_unstructure_fn, override
from cattrs.strategies import configure_tagged_union

from evac.core.decision import Decision, Move
from evac.core.news import News
from evac.core.observation import Json, Observation
from evac.core.plan import Plan, Step
from evac.core.run import Event
from evac.core.traffic import Shift

T = TypeVar("T")

TAG = "is"
"""The key under which a union's value carries its class."""

MICROSECOND = timedelta(microseconds=1)

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
PACKED_ABOVE = 64 * 1024
"""Records of more bytes are packed, where they are written anew all the time: names and reasons repeat themselves."""
_PACKED = b"x"
"""How zlib's data begins, and JSON never does."""


def encode(value: object) -> bytes:
    """Return a value's canonical JSON. A value of a union (an event, a decision) carries its class."""
    return encode_plain(to_plain(value))


def encode_plain(plain: Any) -> bytes:
    """Return plain data as canonical JSON."""
    return _canonical.encode(plain).encode()


@overload
def decode(data: bytes, kind: type[T]) -> T: ...
@overload
def decode(data: bytes, kind: Any) -> Any: ...
def decode(data: bytes, kind: Any) -> Any:
    """Return the value that was encoded; `kind` is its class, or the union it belongs to. Raises `ValueError`."""
    return from_plain(json.loads(unpacked(data)), kind)


def packed(record: bytes) -> bytes:
    """Return a record as it is to be kept: as it is while it is small, else compressed. `decode` reads both."""
    return record if len(record) <= PACKED_ABOVE else zlib.compress(record, level=1)


def unpacked(data: bytes) -> bytes:
    """Return what was packed. Raises `ValueError`."""
    if not data.startswith(_PACKED):
        return data
    try:
        return zlib.decompress(data)
    except zlib.error as error:
        raise ValueError(f"a packed record is damaged: {error}") from error


def to_plain(value: object) -> Any:
    """Return a value as dictionaries, lists, numbers and strings."""
    return _converter().unstructure(value, _unions().get(type(value), type(value)))


@overload
def from_plain(plain: Any, kind: type[T]) -> T: ...
@overload
def from_plain(plain: Any, kind: Any) -> Any: ...
def from_plain(plain: Any, kind: Any) -> Any:
    """Return the value behind plain data. Raises `ValueError`, naming what does not fit."""
    try:
        return _converter().structure(plain, kind)
    except (cattrs.BaseValidationError, cattrs.StructureHandlerNotFoundError, KeyError, TypeError) as error:
        said = cattrs.transform_error(error) if isinstance(error, cattrs.BaseValidationError) else [repr(error)]
        name = getattr(kind, "__name__", "value of that union")
        raise ValueError(f"not a {name}: " + "; ".join(said)) from error


def warm(*kinds: Any) -> None:
    """Build the converters of some kinds now: cattrs compiles them at first use, which is no work for an emergency."""
    for kind in (Event, Decision, Observation, News, Plan, *kinds):
        _converter().get_structure_hook(kind)
        for member in get_args(kind) or (kind,):
            _converter().get_unstructure_hook(member)
        _converter().get_unstructure_hook(kind)


def plan_hash(plan: Plan) -> str:
    """Return the SHA-256 of a plan's canonical form: what a run's journal pins."""
    return hashlib.sha256(encode(plan)).hexdigest()


@cache
def _unions() -> dict[type, Any]:
    """The union each tagged class belongs to."""
    return {kind: union for union in (Event, Decision, Observation, News) for kind in get_args(union)}


@cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_unstructure_hook(timedelta, lambda d: d // MICROSECOND)
    converter.register_structure_hook(timedelta, lambda n, _: int(n) * MICROSECOND)
    converter.register_unstructure_hook(datetime, datetime.isoformat)
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    converter.register_structure_hook_func(_is_json, lambda plain, _: plain)
    converter.register_unstructure_hook_func(_is_json, _plain_json)
    unsaid = override(omit_if_default=True)
    converter.register_unstructure_hook(Step, make_dict_unstructure_fn(Step, converter, before=unsaid, behind=unsaid))
    for union in (Event, Decision, Observation, News, Move | Shift):
        configure_tagged_union(union, converter, tag_name=TAG)
    return converter


def _is_json(kind: Any) -> bool:
    """Whether a type is `Json`, or a mapping to it: data that is plain already."""
    if get_origin(kind) not in (Union, UnionType):
        return False
    return {bool, int, float, str} <= set(get_args(kind))


def _plain_json(value: Json) -> Any:
    if isinstance(value, list | tuple):
        return [_plain_json(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _plain_json(v) for k, v in value.items()}
    return value
