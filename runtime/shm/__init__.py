"""Shared memory: the region of a session, its handler and process tables, ring buffers, the session folder."""
