"""What an evac that has nothing to do costs the database it watches: pgbench with evac on and off, side by side.

Intuition: two things are easily mistaken for one another. What evac asks of the database (its looks, its canary, its
heartbeat row) is done by the database's own processes, wherever evac runs; what the agent needs to ask it is needed on
the agent's host, which in production is another one. In the lab both are one machine. So the primary and pgbench get a
processor of their own, and all else of the lab, the agents too, the others; while evac is off a placebo takes as much
of these as evac did. Then the throughput tells the first only, and the second is counted.

A machine's speed drifts by more than what is looked for. So blocks are short and go on-off-off-on, which cancels what
drifts steadily, and a second witness is told that a busy neighbour cannot change: the processor time of the backends
that serve evac, beside that of all of the primary.

`comparison` is pure, `accounts` reads what processes used, `play` raises the lab and measures, `placebo` stands in.
"""
