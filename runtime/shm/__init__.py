"""Shared memory: the region of a session, its handler and process tables, rings, the session folder."""
