"""Saying what is wrong with a value in words that help, without ever repeating the value.

Intuition: a validation library says `Input should be a valid dictionary`; a person at night needs `needs a mapping:
write its keys below it`. Values are never repeated, because one of them may be a password in the wrong place; only
keys are, and what is allowed.

What this is not: validation.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from evac.config.source import KeyPath
from evac.config.spelling import listed, meant
from evac.drivers.settings import Secret, format_duration

_FIXED = {
    "missing": "is missing; add it",
    "string_type": "needs text; put it in quotes",
    "int_type": "needs a whole number, without quotes",
    "int_from_float": "needs a whole number",
    "int_parsing": "needs a whole number as its key",
    "float_type": "needs a number, without quotes",
    "bool_type": "needs true or false, without quotes",
    "dict_type": "needs a mapping: write its keys below it, indented",
    "model_type": "needs a mapping: write its keys below it, indented",
    "model_attributes_type": "needs a mapping: write its keys below it, indented",
    "tuple_type": "needs a list: [a, b]",
    "list_type": "needs a list: [a, b]",
    "finite_number": "is not a number evac can use",
}
_SECRET = "is a secret and is not written plainly; write {env: NAME} or {file: path}"
_NAME = "a name is made of small letters, digits and -, at most 63, and begins and ends with a letter or digit"


def reason(error: ErrorDetails, *, model: type[BaseModel], path: KeyPath) -> str:
    """Return why a value is refused and what to do. `path` is where it is, from `model` on."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in ("model_type", "model_attributes_type") and context.get("class_name") == Secret.__name__:
        return _SECRET
    if kind in _FIXED:
        return _FIXED[kind]
    if kind == "extra_forbidden":
        known = sorted({i.alias or n for owner in _models(model, path[:-1]) for n, i in owner.model_fields.items()})
        return f"is not a key that is known here{meant(str(path[-1]), known)}; known: {listed(known)}"
    if kind in ("enum", "literal_error"):
        return f"must be {context['expected']}"
    if kind == "string_pattern_mismatch":
        return f"is not a name; {_NAME}" if "{0,61}" in str(context.get("pattern")) else "is not in the right form"
    return _measured(kind, context, error["msg"])


def _measured(kind: str, context: dict[str, Any], message: str) -> str:
    match kind:
        case "greater_than":
            return f"must be more than {_plain(context['gt'])}"
        case "greater_than_equal":
            return f"must be at least {_plain(context['ge'])}"
        case "less_than":
            return f"must be less than {_plain(context['lt'])}"
        case "less_than_equal":
            return f"must be at most {_plain(context['le'])}"
        case "too_short":
            return f"needs at least {context['min_length']} of them"
        case "too_long":
            return f"takes at most {context['max_length']} of them"
        case "string_too_short":
            return f"needs at least {context['min_length']} characters"
        case _:
            return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _plain(bound: Any) -> str:
    return format_duration(bound) if hasattr(bound, "total_seconds") else f"{bound:g}"


def _models(model: type[BaseModel], path: KeyPath) -> Iterator[type[BaseModel]]:
    """Yield the models that may stand at a path below a model."""
    at: list[Any] = [model]
    for part in path:
        at = [inner for outer in at for inner in _below(outer, part)]
    for annotation in at:
        yield from _unwrapped(annotation)


def _below(annotation: Any, part: str | int) -> Iterator[Any]:
    for owner in _unwrapped(annotation):
        if part in owner.model_fields:
            yield owner.model_fields[str(part)].annotation
    arguments = get_args(annotation)
    if _is_union(annotation):
        for argument in arguments:
            yield from _below(argument, part)
    elif arguments and isinstance(get_origin(annotation), type):
        yield arguments[-2] if arguments[-1] is Ellipsis else arguments[-1]


def _unwrapped(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif _is_union(annotation):
        for argument in get_args(annotation):
            yield from _unwrapped(argument)


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)
