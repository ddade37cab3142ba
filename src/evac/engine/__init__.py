"""The asynchronous shell around the core: it watches, decides by asking the core, journals, orders, and waits.

What this is not: rules (`evac.core`), systems (`evac.drivers`), or wiring (`evac.daemon`).
"""
