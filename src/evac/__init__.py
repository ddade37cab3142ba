"""evac moves a running system out of a failing region, and proves that it can."""
