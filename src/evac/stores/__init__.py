"""Stores: what evac remembers, in memory or in SQLite. One contract suite holds for all (`tests/contract`)."""
