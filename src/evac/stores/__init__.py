"""Stores: what evac remembers, in memory, in SQLite, or on etcd; one contract suite for all (`tests/contract`)."""
