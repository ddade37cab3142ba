"""Where a region's agent stands: this host (`local`), or a host reached over ssh (`ssh`).

Intuition: an agent needs two things of its region, hands and eyes. Hands run commands there; eyes look at the world
from there, through connections that come out there. A place gives both, and nothing of evac is installed in it.

What this is not: the drivers, which know what to run; or the agent, which knows when.
"""
