"""System calls of one process: where they are made, and programs before and after them.

The `syscall` instruction stays where it is: one instruction before it and one behind it are displaced. So the
kernel sees the address and the stack that it always saw: restarts, cancellation, clone, vfork, seccomp
filters and backtraces work as ever. Only places of the traced calls are touched.
"""
