"""A store made of a log that all processes read in one order: what it takes, it can stand on (docs/adr/0025).

`replica` says what a log means, `ground` what must be had to keep one, `store` makes of both an `evac.ports.Store`.
"""

from evac.stores.logged.ground import Entry, Gone, Ground, Kept, Place, Sealed
from evac.stores.logged.patience import Patience
from evac.stores.logged.store import LoggedStore
from evac.stores.logged.upkeep import Size, keep_small, size

__all__ = [
    "Entry",
    "Gone",
    "Ground",
    "Kept",
    "LoggedStore",
    "Patience",
    "Place",
    "Sealed",
    "Size",
    "keep_small",
    "size",
]
