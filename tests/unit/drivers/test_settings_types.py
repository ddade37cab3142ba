"""Secrets, paths and durations, as every driver's settings use them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from evac.core.errors import EvacError, Rejected
from evac.drivers import InstalledKinds, driver_kinds, probe_kinds
from evac.drivers.settings import Duration, EstatePath, Secret, Settings, format_duration, parse_duration


class Sample(Settings):
    """A sample."""

    wait: Duration = timedelta(seconds=1)
    """How long."""
    file: EstatePath | None = None
    """Where."""
    names: tuple[str, ...] = ()
    """Which."""
    password: Secret | None = None
    """Its password."""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("2s", 2),
        ("1.5s", 1.5),
        ("5m", 300),
        ("1h30m", 5400),
        ("1d", 86400),
        ("0s", 0),
        ("1m500ms", 60.5),
    ],
)
def test_durations_are_read_and_written(text: str, seconds: float) -> None:
    duration = parse_duration(text)
    assert duration.total_seconds() == seconds
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "5 s", "5S", "5s ", "five", "1e3s", "9" * 400 + "d"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a duration|longer than"):
        parse_duration(text)


def test_settings_are_read_from_plain_data(tmp_path: Path) -> None:
    sample = Sample.parse({"wait": "2s", "file": "x/y", "names": ["a", "b"]}, folder=tmp_path)
    assert sample == Sample(wait=timedelta(seconds=2), file=tmp_path / "x/y", names=("a", "b"))
    assert Sample.parse({"file": "~/x"}).file == Path.home() / "x"
    assert Sample.parse({"file": "/x"}, folder=tmp_path).file == Path("/x")


@pytest.mark.parametrize(
    "data", [{"wait": 5}, {"file": 5}, {"file": ""}, {"names": "a"}, {"name": "a"}, {"password": "x"}]
)
def test_settings_are_strict(data: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Sample.parse(data)


def test_a_secret_is_read_from_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    monkeypatch.setenv("EVAC_TEST_SECRET", "from the environment")
    found = [
        Secret.parse(way, folder=tmp_path).read()
        for way in ({"file": "secret"}, {"env": "EVAC_TEST_SECRET"}, {"value": "as it is"})
    ]
    assert found == ["from a file", "from the environment", "as it is"]


def test_a_secret_that_is_not_there_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVAC_TEST_SECRET", raising=False)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    for way, said in (
        ({"file": "nowhere"}, "No such file"),
        ({"file": "binary"}, "not UTF-8"),
        ({"env": "EVAC_TEST_SECRET"}, "is not set"),
    ):
        with pytest.raises(Rejected, match=said):
            Secret.parse(way, folder=tmp_path).read()


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    sample = Sample.parse({"password": {"value": "hunter2hunter2"}})
    assert "hunter2" not in f"{sample!r} {sample} {sample.password} {sample.model_dump()} {sample.model_dump_json()}"
    assert repr(Secret(env="X")) == "Secret(env='X')"
    assert "a/b" in repr(Secret.parse({"file": "a/b"}))


@pytest.mark.parametrize("way", [{}, {"env": "A", "value": "b"}])
def test_a_secret_has_exactly_one_way(way: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        Secret.parse(way)


def test_installed_kinds_are_found_by_entry_points() -> None:
    assert {"postgresql", "valkey", "haproxy", "rfc2136"} <= set(driver_kinds())
    assert {"http", "tcp", "sql", "valkey", "command"} <= set(probe_kinds())
    assert probe_kinds()["http"].name == "http"
    assert "nothing" not in driver_kinds()
    assert len(driver_kinds()) >= 4


def test_a_kind_that_cannot_be_imported_names_its_package() -> None:
    from importlib.metadata import EntryPoint

    kinds: InstalledKinds[object] = InstalledKinds(
        {"broken": EntryPoint(name="broken", value="evac.nowhere:KIND", group="evac.drivers")}
    )
    with pytest.raises(EvacError, match="cannot be loaded"):
        kinds["broken"]
