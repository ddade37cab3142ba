"""The store on Consul, by its HTTP API: no other client library is needed (docs/adr/0025)."""

from evac.stores.consul.address import ConsulAddress, parse_address
from evac.stores.consul.ground import ConsulGround

__all__ = ["ConsulAddress", "ConsulGround", "parse_address"]
