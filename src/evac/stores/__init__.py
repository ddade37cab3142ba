"""Stores: what evac remembers, in memory, in SQLite, or on etcd. One contract suite holds for all (`tests/contract`)."""
