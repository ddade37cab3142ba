"""Valkey and Redis with replicas: observe, fence, promote, follow, rejoin.

Intuition: Valkey acknowledges a write before it replicates it, so nothing here makes a failover lose nothing; what
can be had is a bound, and certainty about it. `min-replicas-to-write` makes a primary that lost its replicas refuse
writes after `min-replicas-max-lag`. That is the fence: replicas that turned away starve the old primary. The same
setting is the guard of a planned switch: a primary that asks for a million replicas refuses every write from that
moment on, durably, and still sends its replicas what they lack: nothing acknowledged is lost.

A replica that refuses follows an address where nobody listens (`NOWHERE`): it stays a replica, so it takes no writes
itself, and keeps its place in the old primary's stream, so that it can go on with whoever is promoted.

What is kept in the server: term and state, as patterns of a user that can do nothing (`notes`), written to the
configuration file by CONFIG REWRITE together with every change.

What this is not: Sentinel or Cluster, which move primaries by themselves.

Verified on Valkey 9.1 (docs/drivers/valkey.md).
"""

from __future__ import annotations

from evac.drivers.valkey.driver import ValkeyKind

KIND = ValkeyKind()
