"""The lab's file, and the estate that is made from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from evac.config import load
from evac.config.schema import EstateFile
from evac.core.errors import EstateError
from evac.lab import layout
from evac.lab.estate import render

SHIPPED = Path(layout.__file__).parent / "estates" / "shop.yaml"


def rendered(lab: layout.Layout, *, dns: bool = True) -> EstateFile:
    text = render(lab, dns=dns, run_as=("unshare", "--"), bin_dir=Path("/bin"))
    return EstateFile.parse(YAML(typ="safe").load(text), folder=lab.folder)


def test_the_shipped_world_has_the_round_trips_of_real_region_pairs(tmp_path: Path) -> None:
    lab = layout.load(folder=tmp_path)
    links = lab.links()
    assert lab.regions == ("us-east-1", "us-west-2", "eu-west-1")
    assert links["us-east-1", "us-west-2"].delay_s == 0.031
    assert links["eu-west-1", "us-west-2"].delay_s == 0.066
    assert len(links) == 20
    assert [lab.address(site) for site in ("us-east-1", "ops", "clients")] == ["10.77.1.1", "10.77.8.1", "10.77.9.1"]


@pytest.mark.parametrize(("mode", "acks"), [("sync", 1), ("async", 0)])
def test_the_estate_is_one_that_evac_reads(tmp_path: Path, mode: layout.Mode, acks: int) -> None:
    estate = rendered(layout.load(folder=tmp_path, mode=mode))
    replication = estate.services["orders"].components["orders-db"].replication
    assert replication is not None
    assert (str(replication.mode), replication.acks) == (mode, acks)
    assert set(estate.services["shop"].components) == {"shop-lb", "shop-dns"}
    assert set(estate.regions) == {"us-east-1", "us-west-2", "eu-west-1"}


def test_without_a_name_server_the_estate_has_no_dns(tmp_path: Path) -> None:
    estate = rendered(layout.load(folder=tmp_path), dns=False)
    assert set(estate.services["shop"].components) == {"shop-lb"}


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = SHIPPED.read_text()
    assert old in text
    (tmp_path / "shop.estate.yaml").write_text((SHIPPED.parent / "shop.estate.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new))
    return path


def test_own_regions_can_be_declared(tmp_path: Path) -> None:
    file = changed(tmp_path, "us-west-2", "ap-south-1")
    estate = rendered(layout.load(folder=tmp_path, file=file))
    assert "ap-south-1" in estate.regions


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("home: us-east-1", "home: mars-1", "home: mars-1 is not a region"),
        ("ops: 8", "ops: 1", "two sites share a name or a number"),
        ("ops: 8", "ops: 300", "a number is a byte"),
        ("us-west-2: {eu-west-1: 132ms}", "us-west-2: {}", "round_trips: us-west-2 to eu-west-1 is missing"),
        ("seed: 1", "sead: 1", "sead"),
        ("132ms", "132", "not a duration"),
        ("name: shop", "name: [", "mine.yaml"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    file = changed(tmp_path, old, new)
    with pytest.raises(EstateError, match="mine.yaml") as refused:
        layout.load(folder=tmp_path, file=file)
    assert said in str(refused.value)


def test_the_whole_estate_loads_with_every_drivers_settings(tmp_path: Path) -> None:
    lab = layout.load(folder=tmp_path)
    file = tmp_path / "estate.yaml"
    file.write_text(render(lab, dns=True, run_as=("unshare", "--"), bin_dir=Path("/bin")))
    estate = load(file).estate
    assert set(estate.home) == {"shop"}
    assert set(estate.components) == {"orders-db", "carts-cache", "shop-lb", "shop-dns"}
