"""Reading one YAML file into plain data that remembers its lines.

Intuition: whoever has to mend an estate wants the line. So the file is read as a tree of nodes, each of which knows
where it stands, and turned into plain data beside a map from every path (`services`, `orders`, `tier`) to its mark.
What YAML allows and an estate does not (a key twice, a date, a set, an alias inside itself) is a problem with a line.

What this is not: knowledge of what an estate may say (`schema`), or of layers (`layers`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where something is in a document: keys, and positions in lists."""

BYTES_MAX = 4 * 1024 * 1024
NODES_MAX = 200_000
"""Nodes of one document after aliases are followed: a bound against documents that unfold without end."""
_TAG = "tag:yaml.org,2002:"
_TAGGED = "has a YAML tag (`!…`), which an estate does not use; remove it or put the text in quotes"
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_TOO_DEEP = "is nested deeper than evac reads; flatten it"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Mark:
    """Where something was written. `rank` is the layer's place in the order of layers; `line` 0 means no line."""

    rank: int
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """Something a person must mend (or, as a warning, should know). The reason says what to do."""

    mark: Mark
    path: KeyPath
    reason: str

    def __str__(self) -> str:
        where = written(self.path)
        return f"{self.mark}: {where}: {self.reason}" if where else f"{self.mark}: {self.reason}"


@dataclass(slots=True, kw_only=True)
class Document:
    """Plain data, the mark of every path in it, and what is wrong with it so far."""

    data: Any = None
    marks: dict[KeyPath, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def written(path: KeyPath) -> str:
    """Return a path as people write it: `services.orders.probes[0].kind`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def read_file(file: Path, *, rank: int) -> Document:
    """Return what a file says; what is wrong with it is in its problems, never raised."""
    try:
        with file.open("rb") as stream:
            content = stream.read(BYTES_MAX + 1)
    except FileNotFoundError:
        return _unreadable(file, rank, "no such file; `evac init` writes one to begin with")
    except OSError as error:
        return _unreadable(file, rank, f"cannot be read: {error.strerror}")
    if len(content) > BYTES_MAX:
        return _unreadable(file, rank, f"is larger than {BYTES_MAX // 2**20} MiB; this is not an estate")
    try:
        return read_text(content.decode("utf-8-sig"), name=str(file), rank=rank)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return _unreadable(file, rank, "is not UTF-8 text; save it as UTF-8", line=line)


def _unreadable(file: Path, rank: int, reason: str, *, line: int = 0) -> Document:
    return Document(problems=[Problem(mark=Mark(rank=rank, file=str(file), line=line), path=(), reason=reason)])


def read_text(text: str, *, name: str, rank: int) -> Document:
    """Return what YAML text says, with `name` in its marks."""
    reading = _Reading(name=name, rank=rank)
    reading.document.marks[()] = Mark(rank=rank, file=name, line=0)
    try:
        node = YAML().compose(text)
        reading.document.data = None if node is None else reading.value(node, ())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = _QUOTED.sub(_unquoted, str(error.problem or error.context))
        reason = f"is not YAML: {said}; look at this line and the one above"
        reading.refuse(mark.line + 1 if mark else 0, (), reason)
    except YAMLError:
        reading.refuse(0, (), "is not YAML: it holds a character that no text file may hold")
    except RecursionError:
        reading.refuse(0, (), _TOO_DEEP)
    except (ValueError, AssertionError, AttributeError, IndexError, TypeError) as error:
        # The YAML reader fails in these ways on some malformed directives and numbers.
        reading.refuse(0, (), f"is not YAML ({type(error).__name__} while reading it); check quotes and indentation")
    return reading.document


def read_scalar(text: str) -> Any:
    """Return what one YAML value (`5`, `1s`, `[a, b]`) says; text that is not YAML is itself."""
    document = read_text(text, name="", rank=0)
    return text if document.problems else document.data


class _Reading:
    """Turns nodes into data; keeps the marks, and counts against the bound."""

    def __init__(self, *, name: str, rank: int) -> None:
        self.document = Document()
        self._name = name
        self._rank = rank
        self._count = 0
        self._open: set[int] = set()

    def refuse(self, line: int, path: KeyPath, reason: str) -> None:
        mark = Mark(rank=self._rank, file=self._name, line=line)
        self.document.problems.append(Problem(mark=mark, path=path, reason=reason))

    def value(self, node: Node, path: KeyPath, *, line: int | None = None) -> Any:
        at = node.start_mark.line + 1 if line is None else line
        self.document.marks[path] = Mark(rank=self._rank, file=self._name, line=at)
        self._count += 1
        if self._count > NODES_MAX:
            raise ValueError("too many nodes")
        if id(node) in self._open:
            self.refuse(at, path, "is an alias of something it is part of; write it out")
            return None
        self._open.add(id(node))
        try:
            return self._inside(node, path, at)
        finally:
            self._open.discard(id(node))

    def _inside(self, node: Node, path: KeyPath, line: int) -> Any:
        if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(node, path, line)
        self.refuse(line, path, _TAGGED)
        return None

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        own: dict[str, int] = {}
        for key, value in self._pairs(node, path):
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                self.refuse(line, path, "has a key that is not text; write `key: value`")
            elif key.value in own:
                reason = f"is written twice, first in line {own[key.value]}; keep one"
                self.refuse(line, (*path, key.value), reason)
            elif not _encodable(key.value):
                self.refuse(line, path, "has a key with half a character (a lone surrogate); retype it")
            else:
                own[key.value] = line
                data[key.value] = self.value(value, (*path, key.value), line=line)
        return data

    def _pairs(self, node: MappingNode, path: KeyPath) -> Iterator[tuple[Node, Node]]:
        own = [pair for pair in node.value if pair[0].tag != f"{_TAG}merge"]
        yield from own
        seen = {key.value for key, _ in own if isinstance(key, ScalarNode)}
        for key, value in node.value:
            if key.tag != f"{_TAG}merge":
                continue
            for source in value.value if isinstance(value, SequenceNode) else [value]:
                if not isinstance(source, MappingNode) or id(source) in self._open:
                    self.refuse(key.start_mark.line + 1, path, "`<<` merges mappings only; name one by its anchor")
                    continue
                for merged_key, merged_value in source.value:
                    if isinstance(merged_key, ScalarNode) and merged_key.value not in seen:
                        seen.add(merged_key.value)
                        yield merged_key, merged_value

    def _scalar(self, node: ScalarNode, path: KeyPath, line: int) -> Any:
        kind, text = (node.tag or "").removeprefix(_TAG), node.value
        if not _encodable(text):
            self.refuse(line, path, "holds half a character (a lone surrogate); retype it")
        elif kind in ("str", "timestamp"):  # a date is text here
            return text
        elif kind == "null":
            return None
        elif kind == "bool":
            return text.lower() == "true"
        elif kind in ("int", "float"):
            return self._number(text, path, line)
        else:
            self.refuse(line, path, _TAGGED)
        return None

    def _number(self, text: str, path: KeyPath, line: int) -> int | float | None:
        plain = text.replace("_", "")
        try:
            number: int | float = int(plain, 0) if plain.lower().startswith(("0x", "0o", "0b")) else _decimal(plain)
        except ValueError:
            number = math.nan
        if (isinstance(number, float) and not math.isfinite(number)) or abs(number) > 2**63:
            self.refuse(line, path, "is not a number evac can use")
            return None
        return number


def _unquoted(quoted: re.Match[str]) -> str:
    """Return what a message quotes only if it is YAML's own: anything else may be a secret."""
    inside = quoted[1] or quoted[2] or ""
    return quoted[0] if len(inside) == 1 or re.fullmatch(r"<[a-z ]+>", inside) else "…"


def _decimal(text: str) -> int | float:
    try:
        return int(text[:400])
    except ValueError:
        return float(text)


def _encodable(text: str) -> bool:
    return not any(0xD800 <= ord(c) <= 0xDFFF for c in text)
