"""Real servers, one small file a system: write its configuration, start it, wait until it is ready.

The lab starts them inside a region's network namespace (`within` is the command that enters it); tests start the same
ones on loopback with free ports. None of them knows of the other.
"""
