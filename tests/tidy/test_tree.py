"""The tree keeps its own rules: what a person would otherwise have to remember when reading a change."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES_MAX = 600
FUNCTION_LINES_MAX = 70
ADR_LINES_MAX = 60
NAMES_REFUSED = {"utils", "helpers", "common", "manager", "handler", "base", "misc"}


def tracked() -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    return (ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file())


def texts(*suffixes: str) -> Iterator[tuple[Path, str]]:
    for path in tracked():
        if path.suffix in suffixes or (not path.suffix and path.name in ("Makefile", "run")):
            yield path, path.read_text(errors="replace")


def sources() -> list[Path]:
    return [p for p in tracked() if p.suffix == ".py" and "src" in p.relative_to(ROOT).parts]


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_has_one_idea_and_says_it(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert path.stem not in NAMES_REFUSED, f"{path.stem} says nothing"
    assert text.count("\n") <= LINES_MAX, "split it by idea"
    assert ast.get_docstring(tree) or not text.strip(), "open with what it is for"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None, "a parsed function ends somewhere"
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, f"{node.name} is too long"


def test_no_fake_is_a_patch() -> None:
    refused = re.compile(r"mock\.patch|MagicMock|pragma: no cover")
    found = [f"{p.relative_to(ROOT)}" for p, text in texts(".py") if p != Path(__file__) and refused.search(text)]
    assert found == []


def test_the_core_asks_nobody_for_the_time_or_for_chance() -> None:
    refused = re.compile(
        r"^\s*(import (time|random|asyncio|os|socket)|from (time|random|asyncio|os|socket) import)", re.M
    )
    found = [str(p) for p, text in texts(".py") if "src/evac/core/" in str(p) and refused.search(text)]
    assert found == []


def test_nothing_names_a_machine_or_a_registry() -> None:
    refused = re.compile(
        r"/root/|/home/\w+/|file:///|--(extra-)?index-url\s+\S+://|https?://[^\s\"'`)]*(pypi|simple/|registry)"
    )
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path, text in texts(".py", ".md", ".toml", ".lock", ".yaml", ".yml", ".cfg", "")
        if path != Path(__file__) and (match := refused.search(text))
    ]
    assert found == []


def test_locks_hold_versions_and_hashes() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        for line in lock.read_text().splitlines():
            assert re.match(r"^([A-Za-z0-9_.\[\]-]+==\S+( ; .+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?)$", line), (
                f"{lock.name}: {line}"
            )


def test_decision_records_are_short() -> None:
    for record in (ROOT / "docs" / "adr").glob("*.md"):
        assert record.read_text().count("\n") <= ADR_LINES_MAX, record.name


def test_links_lead_somewhere() -> None:
    broken = []
    for path, text in texts(".md"):
        targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
        gone = [t for t in targets if "://" not in t and not (path.parent / t).exists()]
        broken += [f"{path.relative_to(ROOT)}: {target}" for target in gone]
    assert broken == []
