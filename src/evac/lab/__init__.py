"""Regions on one machine: namespaces, a WAN with real round trips, real servers, and real faults.

Nothing here decides anything about failing over. The lab is the world that evac is shown.
"""
