"""The store on ZooKeeper, by kazoo (docs/adr/0025): `pip install evac[zookeeper]`."""

from evac.stores.zookeeper.address import ZookeeperAddress, parse_address
from evac.stores.zookeeper.ground import ZookeeperGround

__all__ = ["ZookeeperAddress", "ZookeeperGround", "parse_address"]
