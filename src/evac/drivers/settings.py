"""What drivers' and probes' settings are made of: the model they extend, secrets, paths and durations.

Intuition: an estate file is text that a person wrote; a driver wants values. A settings model says what is allowed,
its field docstrings say what each field means (unit and default: the reference is generated from them), and the
types here do what every driver would otherwise do by itself: read `500ms`, find a path beside the estate file, and
keep a password out of every message.

Settings are strict: no unknown keys, no number where text is due. Data that came from a file (lists, names of enums)
is read by `Settings.parse`, which follows JSON's rules; values built in code are given as what they are.

What this is not: the estate's own schema (`evac.config.schema`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from evac.core.errors import Rejected

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
NO_SECRET = "no secret"
"""How the reason begins where a secret is not there; it says itself what to do."""
DURATION_PATTERN = r"^(\d+(\.\d+)?(ms|s|m|h|d))+$"
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_duration(text: str) -> timedelta:
    """Return the duration that text such as `500ms`, `2s`, `1h30m` names; ValueError if it names none."""
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError("is not a duration; write a number with a unit, such as 500ms, 2s, 5m, 1h or 1d")
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
    except OverflowError:
        raise ValueError("is longer than evac can count") from None


def format_duration(duration: timedelta) -> str:
    """Return a duration as an estate writes it, in the largest unit it fills evenly: `5m`, `1.5s`, `200ms`."""
    milliseconds = duration / timedelta(milliseconds=1)
    for unit in ("d", "h", "m", "s"):
        size = _UNITS[unit] * 1000
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds / size:.0f}{unit}"
    if milliseconds > 1000:
        return f"{milliseconds / 1000:.6f}".rstrip("0") + "s"
    return f"{milliseconds:g}ms" if milliseconds else "0s"


def _duration(given: object) -> timedelta:
    if isinstance(given, timedelta):
        return given
    if isinstance(given, str):
        return parse_duration(given)
    raise ValueError("is not a duration; write a number with a unit, such as 500ms, 2s, 5m, 1h or 1d")


Duration = Annotated[
    timedelta,
    PlainValidator(_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["500ms", "2s", "5m", "1h"]}),
]
"""A length of time, written with its unit: `500ms`, `2s`, `5m`, `1h30m`."""


def _estate_path(given: object, info: ValidationInfo) -> Path:
    if not isinstance(given, (str, Path)) or not str(given):
        raise ValueError("is not a path; write it as text, relative to the estate file or absolute")
    if "\0" in str(given):
        raise ValueError("is not a path: it holds a null character")
    path = Path(given)
    if str(given).startswith("~/"):
        path = Path.home() / str(given)[2:]
    folder = (info.context or {}).get("folder")
    return path if folder is None else Path(folder) / path


EstatePath = Annotated[
    Path,
    PlainValidator(_estate_path),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string"}),
]
"""A path on the machine evac runs on; a relative one starts at the estate file's folder (`~/` at the home folder).

A path on a region's own host (a data directory) is not one of these: it is plain text.
"""


class Settings(BaseModel):
    """What every settings model extends: frozen, strict, no unknown keys, documented by its fields' docstrings."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    @classmethod
    def parse(cls, data: Mapping[str, Any], *, folder: Path | None = None) -> Self:
        """Return settings from plain data as a file holds it; `folder` is where relative paths start.

        Raises pydantic's `ValidationError`, whose messages never repeat the input.
        """
        return cls.model_validate_json(json.dumps(data), context={"folder": folder})


class Secret(Settings):
    """A password or key, by where it is to be found: exactly one of `env`, `file` and `value`."""

    env: str | None = None
    """Name of the environment variable that holds it, in the process that runs evac."""
    file: EstatePath | None = None
    """File that holds it, relative to the estate file; one trailing line break is not part of it."""
    value: SecretStr | None = None
    """The secret itself. For trials only: anyone who reads the estate reads it."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(way is not None for way in (self.env, self.file, self.value)) != 1:
            raise ValueError("needs exactly one of env, file and value")
        return self

    def read(self) -> str:
        """Return the secret, read anew each time (it may be rotated). Raises `Rejected` if it is not there."""
        if self.value is not None:
            return self.value.get_secret_value()
        if self.env is not None:
            found = os.environ.get(self.env)
            if found is None:
                raise Rejected(f"{NO_SECRET}: environment variable {self.env} is not set; set it where evac is started")
            return found
        assert self.file is not None
        try:
            return self.file.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise Rejected(
                f"{NO_SECRET}: {self.file}: {reason}; write the secret there, readable by evac only"
            ) from None

    def __repr__(self) -> str:
        way = f"env={self.env!r}" if self.env else f"file={str(self.file)!r}" if self.file else "value=***"
        return f"Secret({way})"

    __str__ = __repr__
