"""The kinds of services, by which an operator may set how evac treats them.

What this is not: the systems that hold a service's state (`evac.drivers`); a kind drives nothing.
"""

from __future__ import annotations

from enum import StrEnum


class ServiceKind(StrEnum):
    """What a service is to those who use it."""

    DATABASE = "database"
    API = "api"
    CACHE = "cache"
    STORAGE = "storage"
    COMPUTE = "compute"
    NETWORK = "network"
    DNS = "dns"
    QUEUE = "queue"
    SEARCH = "search"
