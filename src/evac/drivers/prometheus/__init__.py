"""Prometheus as an observer: what it scraped, of thousands of services, by one query.

    settings   which server, which series, which values are well
    observer   the question, and what becomes of the answer

What this is not: a store of metrics, or alerting. evac reads the newest sample of each series and nothing older.
"""

from __future__ import annotations

from evac.drivers.prometheus.observer import PrometheusKind

KIND = PrometheusKind()
