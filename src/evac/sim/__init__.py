"""Models of the world in virtual time: what the engine runs on when nothing real is there."""
