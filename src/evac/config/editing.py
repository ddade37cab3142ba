"""The estate's form as JSON Schema, with the settings of every installed driver and probe, for editors and other tools.

Intuition: an editor should complete `data_dir` under a member of a `driver: postgresql`. So the schema of the form is
taken, and for each driver one condition is added: if the driver is this, then its settings and its members are that.
A member's own settings and the shared ones complete each other, so neither is required to be whole by itself.

What this is not: the check of an estate (`load`), which knows more than a schema can say.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from evac.config.schema import ComponentSection, EstateFile, ObserverSection, ProbeSection
from evac.drivers import driver_kinds, observer_kinds, probe_kinds
from evac.ports import DriverKind, ProbeKind


def json_schema(
    *, drivers: Mapping[str, DriverKind] | None = None, probes: Mapping[str, ProbeKind] | None = None
) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of an estate file; by default with all that is installed."""
    driver_models = {name: kind.settings for name, kind in (driver_kinds() if drivers is None else drivers).items()}
    probe_models = {name: kind.settings for name, kind in (probe_kinds() if probes is None else probes).items()}
    observer_models = {name: kind.settings for name, kind in observer_kinds().items()}
    kinds = [*driver_models.values(), *probe_models.values(), *observer_models.values()]
    models: list[type[BaseModel]] = [EstateFile, *kinds]
    references, whole = models_json_schema([(model, "validation") for model in dict.fromkeys(models)])
    definitions: dict[str, Any] = whole["$defs"]
    names = {model: reference["$ref"].rpartition("/")[2] for (model, _), reference in references.items()}
    for model in set(kinds):
        definitions[f"{names[model]}-part"] = _part(definitions[names[model]])
    _choose(
        definitions[ComponentSection.__name__], {n: names[m] for n, m in driver_models.items()}, "driver", "members"
    )
    _choose(definitions[ProbeSection.__name__], {n: names[m] for n, m in probe_models.items()}, "kind", "regions")
    _choose(
        definitions[ObserverSection.__name__], {n: names[m] for n, m in observer_models.items()}, "kind", "vantages"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **copy.deepcopy(definitions[names[EstateFile]]),
        "title": "evac estate",
        "$defs": definitions,
    }


def _part(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's schema as of a part that others complete: nothing is required."""
    return {key: value for key, value in definition.items() if key != "required"}


def _choose(section: dict[str, Any], names: Mapping[str, str], key: str, by_region: str) -> None:
    """Say, for each value that `key` may have, what the settings and the regions' settings are."""
    section["properties"][key] = {**section["properties"][key], "enum": sorted(names)}
    section["allOf"] = [
        {
            "if": {"properties": {key: {"const": name}}},
            "then": {
                "properties": {
                    "settings": {"$ref": f"#/$defs/{definition}-part"},
                    by_region: {
                        "additionalProperties": {"anyOf": [{"$ref": f"#/$defs/{definition}-part"}, {"type": "null"}]}
                    },
                }
            },
        }
        for name, definition in sorted(names.items())
    ]
