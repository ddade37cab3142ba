"""The estates that evac ships load, agree with the JSON Schema, and are explained by the committed reference."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from evac.config import facts_page, json_schema, load
from evac.config.reference import PAGE, page
from evac.drivers import driver_kinds, observer_kinds, probe_kinds

SHIPPED = Path(str(resources.files("evac.config"))) / "estates"
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", ["starter", "reference"])
def test_a_shipped_estate_is_in_order(name: str, validator: jsonschema.Draft202012Validator) -> None:
    file = SHIPPED / f"{name}.yaml"
    assert load(file, environ={}).warnings == ()
    document = json.loads(json.dumps(YAML(typ="safe").load(file.read_text())))  # keys as JSON has them
    assert [e.message for e in validator.iter_errors(document)] == []


def test_the_reference_estate_has_nine_regions_over_three_clouds() -> None:
    estate = load(SHIPPED / "reference.yaml", environ={}).estate
    assert len(estate.regions) == 9
    assert {r.provider for r in estate.regions.values()} == {"aws", "gcp", "azure"}
    assert {s.tier for s in estate.services.values()} == {1, 2, 3, 4}
    assert len(estate.home) == 6


def test_the_schema_knows_the_settings_of_drivers(validator: jsonschema.Draft202012Validator) -> None:
    document = json.loads(json.dumps(YAML(typ="safe").load((SHIPPED / "starter.yaml").read_text())))
    component = document["services"]["orders"]["components"]["orders-db"]
    component["members"]["berlin"]["prot"] = 5432
    component["settings"]["dbname"] = 5
    document["services"]["shop"]["components"]["shop-lb"]["driver"] = "nginx"
    paths = [".".join(map(str, e.absolute_path)) for e in validator.iter_errors(document)]
    assert sorted(paths) == [
        "services.orders.components.orders-db.members.berlin",
        "services.orders.components.orders-db.settings.dbname",
        "services.shop.components.shop-lb.driver",
    ]


def test_the_committed_reference_is_fresh() -> None:
    written = page(drivers=driver_kinds(), probes=probe_kinds(), observers=observer_kinds())
    assert (ROOT / PAGE).read_text(encoding="utf-8") == written, "run `make docs` and commit the page"
    of_triggers = (ROOT / facts_page.PAGE).read_text(encoding="utf-8")
    assert of_triggers == facts_page.page(), "run `make docs` and commit the page"
