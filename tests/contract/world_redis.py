"""Redis' world for the driver contract: Valkey's, of the distribution's `redis-server`."""

from __future__ import annotations

from world_valkey import REDIS, ValkeyWorld

WORLD = ValkeyWorld(REDIS)
