"""The network between regions, in user space: `links` says how it should be, `carrier` decides about each frame,
`process` moves frames between the regions' raw sockets.

It exists because the kernel of an ordinary machine has no network emulation, or does not let a plain user have it.
"""
