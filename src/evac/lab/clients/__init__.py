"""The lab's clients: they write the way real clients do, and keep an exact record of what they were told.

Four kinds, all of them outside of evac and knowing nothing of it: `web` (DNS, then HAProxy, then the shop), `direct`
(libpq with several hosts), `appender` (Valkey), and the direct one again as `inside`, in a region that may be cut off.
"""
