"""Probes: one small way each to ask a service in a region whether it does its job.

    http     status and body of a page                       connection kept open
    tcp      a port accepts, or greets as expected           a connection a question
    sql      PostgreSQL: canary write and read, or a query   connection kept open
    valkey   Valkey, Redis: canary set and get, or a get     connection kept open
    command  a program's exit code

A probe `as_client` opens a new connection for each question, as a client would. All connections come out at the
place of the region that probes (`ports.Place.forward`). A question may be cancelled at any time: see `kept`.

What this is not: time limits, thresholds, verdicts (`engine.prober`, `core.detector`).
"""

from __future__ import annotations

from evac.drivers.probes.command import CommandKind
from evac.drivers.probes.http import HttpKind
from evac.drivers.probes.sql import SqlKind
from evac.drivers.probes.tcp import TcpKind
from evac.drivers.probes.valkey import ValkeyKind

HTTP = HttpKind()
TCP = TcpKind()
SQL = SqlKind()
VALKEY = ValkeyKind()
COMMAND = CommandKind()
