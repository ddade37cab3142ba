"""Stores: what evac remembers, in memory, in SQLite, on etcd, ZooKeeper or Consul; one contract suite for all of them
(`tests/contract`).
"""
