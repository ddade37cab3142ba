"""Names in DNS by RFC 2136: which regions' addresses a name resolves to, at servers that take signed updates.

Supports `shift`, with undo, and `prepare`: whether a shift would be taken. The record set holds the addresses of every
region with a weight above 0; DNS knows no shares, so 1 and 100 are the same. It is never empty.

The term stands in a TXT record beside the name (`_evac.<name>`), is a prerequisite of every update, and is replaced in
the same message: a compare-and-set at the server itself (RFC 2136, 2.4.2), so that a late or stale update cannot work.

What this is not: a fence, or fast. 8.7 % of resolvers stretch TTLs, and clients keep what they resolved; give them
stable addresses where you can, and use this as the slow path.

Verified on Knot 3.2.6 (docs/drivers/rfc2136.md).
"""

from __future__ import annotations

from evac.drivers.rfc2136.driver import Rfc2136Kind

KIND = Rfc2136Kind()
