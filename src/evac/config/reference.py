"""Writes the reference of the estate file, docs/reference/estate.md, from the models' own field docstrings, and that of
triggers (`facts_page`).

    python -m evac.config.reference [FILE]

Intuition: what a field means is written once, where it is declared. This page is that text in the order of the form,
then every installed driver's, probe's and observer's settings. A test holds the committed page to it.

What this is not: a tutorial; the commented starter estate is one.
"""

from __future__ import annotations

import enum
import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from evac.config import facts_page
from evac.config.schema import EstateFile
from evac.drivers import driver_kinds, observer_kinds, probe_kinds
from evac.drivers.settings import Secret, format_duration
from evac.ports import DriverKind, ObserverKind, ProbeKind

PAGE = Path("docs/reference/estate.md")
_INTRODUCTION = """# The estate file

<!-- Written by `python -m evac.config.reference` from the code; do not edit. -->

What you have, where it runs, and what you promised, as YAML. `evac init` writes a commented one to start from;
`evac schema` prints the JSON Schema for your editor. Unknown keys are refused, and everything that is wrong is told at
once, each with its file and line.

**Durations** carry a unit: `500ms`, `2s`, `5m`, `1h30m`, `1d`. **Paths** are relative to the estate file's folder, or
absolute, or begin with `~/`. **Secrets** are never written plainly: `{env: NAME}` or `{file: path}` (`{value: ...}` is
for trials). **Names** are small letters, digits and `-`.

## Layers

Later layers win; mappings are merged, everything else is replaced as a whole, and null takes a key away. All have the
form below.

1. `estate.yaml`: what is the same everywhere
2. `regions/<region>.yaml` beside it: what differs in a region
3. `environments/<environment>.yaml` beside it: the one named by `--environment` or `EVAC_ENVIRONMENT`
4. environment variables: `EVAC__DETECTION__INTERVAL=1s`; `__` stands between keys, `_` may stand for `-`
"""


def page(
    *, drivers: Mapping[str, DriverKind], probes: Mapping[str, ProbeKind], observers: Mapping[str, ObserverKind]
) -> str:
    """Return the whole page as Markdown."""
    parts = [_INTRODUCTION, *_sections(EstateFile, title="The estate", seen=set())]
    parts.append("## Drivers\n\nWhat a component's `settings` and `members` may say, by its `driver`.\n")
    for name, kind in drivers.items():
        verified = f"Verified on: {kind.support.verified_on}.\n"
        parts += _sections(kind.settings, title=f"driver: {name}", seen=set(), level=3, note=verified)
    parts.append("## Probes\n\nWhat a probe's `settings` and `regions` may say, by its `kind`.\n")
    for name, probe in probes.items():
        parts += _sections(probe.settings, title=f"kind: {name}", seen=set(), level=3)
    parts.append("## Observers\n\nWhat an observer's `settings` and `vantages` may say, by its `kind`.\n")
    for name, observer in observers.items():
        parts += _sections(observer.settings, title=f"kind: {name}, as an observer", seen=set(), level=3)
    return "\n".join(parts)


def _sections(
    model: type[BaseModel], *, title: str, seen: set[type[BaseModel]], level: int = 2, note: str = ""
) -> Iterator[str]:
    """Yield a model's table, then those of the models in it, each once."""
    seen.add(model)
    yield f"{'#' * level} {title}\n\n{inspect.getdoc(model)}\n{note and chr(10) + note}\n{_table(model)}"
    for name, info in model.model_fields.items():
        for inner in _models(info.annotation):
            if inner not in seen and inner is not Secret:
                yield from _sections(
                    inner, title=f"{title.removeprefix('The estate')} > {name}".strip(" >"), seen=seen, level=level
                )


def _table(model: type[BaseModel]) -> str:
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, info in model.model_fields.items():
        meaning = " ".join((info.description or "").split())
        cells = (f"`{info.alias or name}`", _type(info.annotation, info), _default(info), meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "**required**"
    value = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, timedelta):
        return f"`{format_duration(value)}`"
    if isinstance(value, enum.Enum):
        return f"`{value.value}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, BaseModel) or value in (None, "", (), {}) or value is PydanticUndefined:
        return "-"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


_WORDS: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    timedelta: "duration",
    Path: "path",
    SecretStr: "text",
    Secret: "secret",
    Any: "any",
}


def _type(annotation: Any, info: FieldInfo | None = None) -> str:
    """Return a type in words, with its bounds."""
    bounds = _bounds(info) if info is not None else ""
    if annotation in _WORDS:
        return _WORDS[annotation] + bounds
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(a) for a in arguments if a is not type(None)) + bounds
    if origin is Literal:
        return ", ".join(f"`{a}`" for a in arguments)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return ", ".join(f"`{a.value}`" for a in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    if hasattr(annotation, "__metadata__"):
        return _type(arguments[0]) + bounds
    if origin is tuple:
        return "list of " + _type(arguments[0]) if arguments[-1] is Ellipsis else f"list of {len(arguments)}"
    if origin is not None and arguments:
        return f"mapping to {_type(arguments[-1])}"
    return str(annotation)


def _bounds(info: FieldInfo) -> str:
    words = {"gt": "> ", "ge": "≥ ", "lt": "< ", "le": "≤ "}
    found = [
        sign + (format_duration(bound) if isinstance(bound, timedelta) else f"{bound:g}")
        for constraint in info.metadata
        for name, sign in words.items()
        if (bound := getattr(constraint, name, None)) is not None
    ]
    return f" ({', '.join(found)})" if found else ""


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def main(arguments: list[str]) -> None:
    """Write the page to the file that is named; by default the committed ones, also that of triggers."""
    text = page(drivers=driver_kinds(), probes=probe_kinds(), observers=observer_kinds())
    if arguments:
        return _write(Path(arguments[0]), text)
    _write(PAGE, text)
    return _write(facts_page.PAGE, facts_page.page())


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    print(f"wrote {file}")


if __name__ == "__main__":
    main(sys.argv[1:])
