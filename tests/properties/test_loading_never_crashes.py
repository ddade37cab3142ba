"""Whatever a file holds, loading it ends in an estate or in an `EstateError` that names its problems."""

from __future__ import annotations

import copy
import io
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from evac.config import Loaded, load
from evac.core.errors import EstateError
from fakes.kinds import DRIVERS, PROBES

VALID = (Path(__file__).parents[1] / "golden" / "estates" / "valid.yaml").read_text()
DATA = YAML(typ="safe").load(VALID)
SECRET = "hunter2hunter2"

names = st.sampled_from(["us-east-1", "us-west-2", "mars", "orders", "shop", "nowhere", "0", "A b", ""])
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["1s", "0s", "5", "sync", "async", "primary", "automatic", "local", "~/x"])
    | names
    | st.text(max_size=8)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)


def paths(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [found for key, value in items for found in [(*path, key), *paths(value, (*path, key))]]


PATHS = paths(DATA)


def read(content: bytes, **environ: str) -> Loaded | tuple[str, ...]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "estate.yaml"
        file.write_bytes(content)
        try:
            return load(file, environ=environ, drivers=DRIVERS, probes=PROBES)
        except EstateError as error:
            return tuple(problem.removeprefix(str(file)) for problem in error.problems)


def edited(edits: list[tuple[tuple[Any, ...], Any, str]]) -> bytes:
    data = copy.deepcopy(DATA)
    for path, value, how in edits:
        holder = data
        for part in path[:-1]:
            holder = holder[part] if _holds(holder, part) else None
        if not _holds(holder, path[-1]):
            continue
        if how == "remove":
            del holder[path[-1]]
        elif how == "rename" and isinstance(holder, dict):
            holder[str(value)] = holder.pop(path[-1])
        else:
            holder[path[-1]] = value
    stream = io.StringIO()
    YAML(typ="safe").dump(data, stream)
    return stream.getvalue().encode("utf-8", "surrogatepass")


def _holds(holder: Any, part: Any) -> bool:
    return (
        part in holder
        if isinstance(holder, dict)
        else isinstance(holder, list) and isinstance(part, int) and part < len(holder)
    )


edits = st.lists(
    st.tuples(st.sampled_from(PATHS), values, st.sampled_from(["replace", "replace", "remove", "rename"])),
    min_size=1,
    max_size=4,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(edits=edits)
def test_a_valid_document_with_values_changed(edits: list[tuple[tuple[Any, ...], Any, str]]) -> None:
    assert read(edited(edits))


@settings(max_examples=80, deadline=None)
@given(at=st.integers(min_value=0, max_value=len(VALID)), cut=st.integers(0, 30), text=st.text(max_size=12))
def test_a_valid_document_with_text_changed(at: int, cut: int, text: str) -> None:
    assert read((VALID[:at] + text + VALID[at + cut :]).encode("utf-8", "surrogatepass"))


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200) | st.text("{}[]:,-&*!|>'\"%@`#? \nab1~<\t", max_size=60).map(str.encode))
def test_any_content(content: bytes) -> None:
    assert read(content)


@settings(max_examples=60, deadline=None)
@given(path=st.sampled_from(PATHS), wrapped=st.sampled_from(["plain", "list", "mapping"]))
def test_a_secret_in_the_place_of_anything_is_not_repeated(path: tuple[Any, ...], wrapped: str) -> None:
    value: Any = {"plain": SECRET, "list": [SECRET], "mapping": {"value": SECRET}}[wrapped]
    found = read(edited([(path, value, "replace")]))
    named = path[-1] in ("driver", "kind", "home", "name") or any(part in ("regions", "needs") for part in path)
    if isinstance(found, tuple) and not named:  # names are repeated, so that they can be found
        assert not any(SECRET in problem for problem in found)


@settings(max_examples=60, deadline=None)
@given(
    keys=st.lists(
        st.sampled_from(["SERVICES", "ORDERS", "REGIONS", "US_EAST_1", "0", "", "HOME", "_", "Probes"]), max_size=4
    ),
    value=st.text(max_size=12).filter(lambda text: "\0" not in text),
)
def test_any_variable(keys: list[str], value: str) -> None:
    assert read(VALID.encode(), **{f"EVAC__{'__'.join(keys)}": value})
