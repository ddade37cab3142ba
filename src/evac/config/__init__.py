"""Reading an estate: from YAML that a person wrote to the core's values, or to a list of everything that is wrong.

    layers -> schema -> members -> build -> rules

`load` is the door. Everything behind it works with plain dataclasses and never sees YAML or pydantic again, except
for members' and places' settings, which only their drivers look into.
"""

from __future__ import annotations

from evac.config.editing import json_schema
from evac.config.load import Loaded, load

__all__ = ["Loaded", "json_schema", "load"]
