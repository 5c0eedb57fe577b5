"""The agent: C that lives in the target, how it is built, and the frames that it serves."""
