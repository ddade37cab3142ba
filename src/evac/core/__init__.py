"""The domain: pure, synchronous, standard library only.

Nothing here reads a clock, opens a socket, or draws a random number: the time and all that was seen come in as
arguments, and what should be done goes out as values. So the same rules run in production, in a dry run, in a
simulation and in a what-if.
"""
