"""The lab's shop: a small real web service with state in two stores, one in every region.

It talks to its own region's PostgreSQL and Valkey only, and says which region and which timeline took a write, so that
clients can hold it to that. It knows nothing of evac.
"""
