"""HAProxy's world for the driver contract, its runtime API a UNIX socket."""

from __future__ import annotations

from world_haproxy import HaproxyWorld

WORLD = HaproxyWorld(by_socket=True)
