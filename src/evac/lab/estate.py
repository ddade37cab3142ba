"""The estate file that a lab writes for evac: its template, filled with where everything is.

What this is not: the reading of estates. What is written here is an ordinary file, and is read like any other.
"""

from __future__ import annotations

from pathlib import Path

import jinja2

from evac.drivers.settings import format_duration
from evac.lab import layout
from evac.lab.layout import Layout
from evac.lab.servers import postgresql

PORTS = {
    "ssh": layout.SSH_PORT,
    "postgresql": layout.POSTGRESQL_PORT,
    "valkey": layout.VALKEY_PORT,
    "public": layout.PUBLIC_PORT,
    "runtime": layout.RUNTIME_PORT,
    "dns": layout.DNS_PORT,
    "shop": layout.SHOP_PORT,
}


def render(lab: Layout, *, dns: bool, run_as: tuple[str, ...], bin_dir: Path) -> str:
    """Return the estate's text. `run_as` is the command that makes the regions' root PostgreSQL's owner."""
    regions = [
        spec.model_dump() | {"name": name, "address": lab.address(name), "folder": lab.region_folder(name)}
        for name, spec in lab.spec.regions.items()
    ]
    trips = {
        one: {other: format_duration(t) for other, t in others.items() if other in lab.spec.regions}
        for one, others in lab.spec.round_trips.items()
        if one in lab.spec.regions
    }
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True)
    return environment.from_string(lab.template.read_text()).render(
        name=lab.spec.name,
        home=lab.spec.home,
        mode=lab.mode,
        pause=format_duration(lab.spec.pause),
        store=lab.store(),
        dns=dns,
        ports=PORTS,
        regions=regions,
        round_trips={one: others for one, others in trips.items() if others},
        run_as=run_as,
        bin_dir=bin_dir,
    )


def write_estate(lab: Layout, *, dns: bool) -> Path:
    """Write `estate.yaml` into the lab's folder, and return its path."""
    path = lab.folder / "estate.yaml"
    path.write_text(render(lab, dns=dns, run_as=postgresql.as_owner(), bin_dir=postgresql.bin_dir()))
    return path
