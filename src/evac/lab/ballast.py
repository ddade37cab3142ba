"""A file that takes all the room of a file system, and so makes its disk full.

A file system that has not all the blocks that are asked for gives none: `posix_fallocate` on tmpfs undoes what it took.
So when somebody writes between the look and the asking, the disk is as empty as before: it is looked at again.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path


def fill(ballast: Path) -> None:
    """Leave the file system on which the ballast lies not a single block. Raises `OSError` but for want of room."""
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        while free := (status := os.fstatvfs(descriptor)).f_bfree * status.f_bsize:
            try:
                os.posix_fallocate(descriptor, size, free)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            else:
                size += free
    finally:
        os.close(descriptor)
