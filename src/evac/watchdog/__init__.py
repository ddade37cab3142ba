"""The watchdog: a process of its own beside a primary that is held under a lease, `python -m evac.watchdog`.

Intuition: whoever is to kill a frozen system must not be part of what froze. So this is one small process a primary,
in a session of its own, which needs nothing but the clock, `/proc` and a socket: the standard library and two modules
of the core. It survives the death of the agent that started it, and a frozen agent is a silent one.

Only what cannot wait for a disk is done by it: files are written by a child, which may hang where it likes.

What it cannot do: outlive its own death. The agent starts it anew when it does not answer; where both are gone at one
time, a hardware watchdog (`--device`) resets the machine.
"""
