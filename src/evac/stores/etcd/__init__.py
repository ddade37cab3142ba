"""The store on etcd, by its JSON gateway over HTTP: no other client library is needed (docs/adr/0011)."""

from evac.stores.etcd.address import EtcdAddress, parse_address
from evac.stores.etcd.members import Patience
from evac.stores.etcd.nearness import draw_leader, is_leader_near, keep_leader_near
from evac.stores.etcd.store import EtcdStore
from evac.stores.etcd.upkeep import Size, keep_small, size

__all__ = [
    "EtcdAddress",
    "EtcdStore",
    "Patience",
    "Size",
    "draw_leader",
    "is_leader_near",
    "keep_leader_near",
    "keep_small",
    "parse_address",
    "size",
]
