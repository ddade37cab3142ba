"""The workload of a lab: the same clients for a demo, a drill and a bench, at the lab's own addresses."""

from __future__ import annotations

from typing import Any

from evac.lab.clients.workload import Workload
from evac.lab.layout import DNS_PORT, POSTGRESQL_PORT, PUBLIC_PORT, VALKEY_PORT, Layout


def outside(lab: Layout, *, dns: bool, **settings: Any) -> Workload:
    """Return what the clients at the site `clients` do: all ways to write. `settings` are the workload's others."""
    return Workload(
        dns=tuple(f"{lab.address(region)}:{DNS_PORT}" for region in lab.regions) if dns else (),
        entries=tuple(f"{lab.address(region)}:{PUBLIC_PORT}" for region in lab.regions),
        postgresql={region: f"{lab.address(region)}:{POSTGRESQL_PORT}" for region in lab.regions},
        conninfo=_conninfo(lab),
        valkey={region: f"{lab.address(region)}:{VALKEY_PORT}" for region in lab.regions},
        valkey_password=(lab.secrets / "valkey").read_text(),
        **settings,
    )


def inside(lab: Layout, region: str, **settings: Any) -> Workload:
    """Return what the clients inside a region do: they write to their own PostgreSQL, whatever happens around it."""
    return Workload(
        via="inside",
        direct=2,
        postgresql={region: f"{lab.address(region)}:{POSTGRESQL_PORT}"},
        conninfo=_conninfo(lab),
        **settings,
    )


def _conninfo(lab: Layout) -> str:
    return f"dbname=shop user=evac password={(lab.secrets / 'pg').read_text()}"
