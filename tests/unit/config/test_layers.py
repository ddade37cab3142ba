"""Layers: what wins, what is merged, and where each value is said to come from."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from evac.config import Loaded, load
from evac.core.errors import EstateError
from evac.core.estate import ComponentId, RegionId
from fakes.kinds import DRIVERS, PROBES

VALID = Path(__file__).parents[2] / "golden" / "estates" / "valid.yaml"


@pytest.fixture
def estate(tmp_path: Path) -> Path:
    """An estate file alone in a folder."""
    file = tmp_path / "estate.yaml"
    file.write_text(VALID.read_text())
    return file


def beside(estate: Path, name: str, text: str) -> None:
    file = estate.parent / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)


def read(estate: Path, *, environment: str | None = None, **environ: str) -> Loaded:
    return load(estate, environment=environment, environ=environ, drivers=DRIVERS, probes=PROBES)


def problems(estate: Path, *, environment: str | None = None, **environ: str) -> tuple[str, ...]:
    with pytest.raises(EstateError) as caught:
        read(estate, environment=environment, **environ)
    return tuple(p.replace(f"{estate.parent}/", "") for p in caught.value.problems)


def test_an_estate_alone_has_the_defaults(estate: Path) -> None:
    loaded = read(estate)
    assert loaded.estate.detection.interval == timedelta(milliseconds=500)
    assert loaded.estate.home == {"orders": "us-east-1"}
    assert [s.group for s in loaded.estate.services.values()] == ["orders", "orders"]
    assert loaded.warnings == ()


def test_region_then_environment_then_variables_win(estate: Path) -> None:
    beside(estate, "regions/us-west-2.yaml", "detection: {interval: 600ms, failures: 4, successes: 5}\n")
    beside(estate, "environments/staging.yaml", "detection: {interval: 700ms, failures: 6}\n")
    loaded = read(estate, environment="staging", EVAC__DETECTION__INTERVAL="800ms")
    detection = loaded.estate.detection
    assert (detection.interval, detection.failures, detection.successes) == (timedelta(milliseconds=800), 6, 5)
    marks = {
        key: str(loaded.marks["detection", key]).rpartition("/")[2] for key in ("interval", "failures", "successes")
    }
    assert marks == {
        "interval": "environment variable EVAC__DETECTION__INTERVAL",
        "failures": "staging.yaml:1",
        "successes": "us-west-2.yaml:1",
    }


def test_the_environment_may_come_from_the_environment(estate: Path) -> None:
    beside(estate, "environments/staging.yaml", "name: shop-staging\n")
    assert read(estate).estate.name == "shop"
    assert read(estate, EVAC_ENVIRONMENT="staging").estate.name == "shop-staging"


def test_members_are_merged_deep_and_lists_are_replaced(estate: Path) -> None:
    beside(
        estate,
        "regions/us-west-2.yaml",
        "services:\n  orders:\n    tags: [soc2]\n    components:\n      orders-db:\n        members:\n"
        "          us-west-2: {port: 5433}\n",
    )
    members = read(estate).estate.components[ComponentId("orders-db")].members
    west = members[RegionId("us-west-2")]
    assert (getattr(west, "host", None), getattr(west, "port", None)) == ("10.0.2.1", 5433)
    assert getattr(members[RegionId("us-east-1")], "port", None) == 5432


def test_null_takes_a_key_away(estate: Path) -> None:
    beside(estate, "environments/bare.yaml", "services: {shop: null}\n")
    assert list(read(estate, environment="bare").estate.services) == ["orders"]


def test_a_variable_finds_keys_with_dashes_and_lists(estate: Path) -> None:
    loaded = read(estate, EVAC__REGIONS__US_EAST_1__CAPACITY__USERS="100", EVAC__SERVICES__ORDERS__TAGS="[soc2, gdpr]")
    assert loaded.estate.regions[RegionId("us-east-1")].capacity.users == 100
    assert [s.tags for s in loaded.estate.services.values()] == [("soc2", "gdpr"), ()]


def test_a_problem_names_the_layer_it_came_from_in_the_order_of_layers(estate: Path) -> None:
    beside(estate, "regions/us-west-2.yaml", "\n\nregions:\n  us-west-2:\n    role: sidekick\n")
    beside(estate, "environments/staging.yaml", "services:\n  orders:\n    tier: first\n")
    found = problems(estate, environment="staging", EVAC__DETECTION__FAILURES="0", EVAC__NAME="Shop!")
    assert [f.partition(": ")[0] for f in found] == [
        "regions/us-west-2.yaml:5",
        "environments/staging.yaml:3",
        "environment variable EVAC__DETECTION__FAILURES",
        "environment variable EVAC__NAME",
    ]


def test_a_missing_environment_names_those_there_are(estate: Path) -> None:
    beside(estate, "environments/staging.yaml", "name: shop-staging\n")
    assert problems(estate, environment="stagin") == (
        "environments: has no file for the environment stagin (did you mean staging?); there are staging",
    )


def test_a_region_file_without_region_is_a_mistake(estate: Path) -> None:
    beside(estate, "regions/us-est-1.yaml", "name: shop\n")
    assert problems(estate) == (
        "regions/us-est-1.yaml: is named after a region that is not declared (did you mean us-east-1?);"
        " declare it or rename the file",
    )


def test_a_layer_is_a_mapping(estate: Path) -> None:
    beside(estate, "environments/odd.yaml", "- name: shop\n")
    assert problems(estate, environment="odd") == (
        "environments/odd.yaml:1: is not a mapping; a layer has the estate's form",
    )


def test_a_variable_with_an_empty_key_is_refused(estate: Path) -> None:
    assert problems(estate, EVAC__NAME____X="1")[0].startswith("environment variable EVAC__NAME____X: has an empty key")


def test_a_file_that_is_not_there_says_how_to_begin(tmp_path: Path) -> None:
    file = tmp_path / "estate.yaml"
    assert problems(file) == ("estate.yaml: no such file; `evac init` writes one to begin with",)
    file.mkdir()
    assert problems(file) == ("estate.yaml: cannot be read: Is a directory",)
