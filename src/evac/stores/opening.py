"""Which kind of store a URL names, and how each is opened and kept small.

Intuition: whoever uses a store knows `evac.ports.Store` alone. What differs between the kinds is written here once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from evac.ports import Clock, Store
from evac.stores import consul, etcd, zookeeper
from evac.stores.consul import ConsulAddress, ConsulGround
from evac.stores.etcd import EtcdAddress, EtcdStore, is_leader_near
from evac.stores.logged import LoggedStore
from evac.stores.logged import keep_small as keep_log_small
from evac.stores.zookeeper import ZookeeperAddress, ZookeeperGround

StoreAddress = EtcdAddress | ZookeeperAddress | ConsulAddress

_READERS: dict[str, Callable[..., StoreAddress]] = {
    "etcd": etcd.parse_address,
    "zookeeper": zookeeper.parse_address,
    "consul": consul.parse_address,
}
WITNESS = {EtcdAddress: "etcd.seen.json", ZookeeperAddress: "zookeeper.seen.json", ConsulAddress: "consul.seen.json"}
"""How far this machine has seen a store come: so a restore from a backup is noticed. In the state folder."""


def parse_address(text: str, *, namespace: str, folder: Path) -> StoreAddress:
    """Return what a store's URL says. `namespace` holds if it names none; relative paths start at `folder`.

    Raises `ValueError`, saying what is wrong and how to write it; words of the URL are not repeated.
    """
    scheme, found, _ = text.partition("://")
    reader = _READERS.get(scheme.removesuffix("s") if scheme not in _READERS else scheme) if found else None
    if reader is None:
        raise ValueError(
            "is not a store; write etcd://host:port,host:port, or zookeeper:// or consul://;"
            " with one s more (etcds://) it is asked over TLS"
        )
    return reader(text, namespace=namespace, folder=folder)


def open_at(address: StoreAddress, *, state: Path) -> EtcdStore | LoggedStore:
    """Open the store at an address; nobody is asked yet. Raises `StoreUnavailable` when a file cannot be read."""
    witness = state / WITNESS[type(address)]
    match address:
        case EtcdAddress():
            return EtcdStore(address, witness=witness)
        case ZookeeperAddress():
            return LoggedStore(ZookeeperGround(address), witness=witness)
        case ConsulAddress():
            return LoggedStore(ConsulGround(address), witness=witness)


def keeping_small(store: Store, *, clock: Clock) -> list[Coroutine[Any, Any, None]]:
    """Return what must run beside whoever uses a store for long, so that it stays small."""
    if isinstance(store, EtcdStore):
        return [etcd.keep_small(store, clock=clock)]
    return [keep_log_small(store, clock=clock)] if isinstance(store, LoggedStore) else []


def nearness(store: Store) -> Callable[[], Awaitable[bool]] | None:
    """Return how a process asks whether it is near the store's own leader, and would lead with fewer round trips than
    others; None where that cannot be asked.
    """
    return partial(is_leader_near, store) if isinstance(store, EtcdStore) else None
