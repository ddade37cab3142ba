"""HAProxy: which region's servers a backend sends clients to, by the runtime API.

Supports `shift`, with undo; `prepare`: whether a shift would be taken; and `verify`: whether whoever comes in here is
served, by HAProxy's own checks and by a request as a client (`client_url`). Each region is a server of the backend: it
directs where the work is done, not where clients enter.
Weights are absolute (0 to 256; evac's percent are taken as they are): a weight in percent would be of the weight in
HAProxy's file, and of 0 that is nothing. A region at 0 is drained (or put into maintenance, `at_zero`) and its sessions
are closed, since a client on an old connection would stay in the old region.

What HAProxy forgets: all of this, when it restarts, unless it loads a state file (`state_file`). The term is kept in
a process variable, which no state file holds: after a restart `observe` says so by a term of None.

As an observer (`observer`) it tells how real clients fare, of all backends by one question.

What this is not: a fence. A client may have another way in.

Verified on HAProxy 2.8.25 (docs/drivers/haproxy.md).
"""

from __future__ import annotations

from evac.drivers.haproxy.driver import HaproxyKind
from evac.drivers.haproxy.observer import CountingKind

KIND = HaproxyKind()
OBSERVER = CountingKind()
