"""The view of system calls, as strace shows them: which are traced, what is captured, how it is shown.

A script of the tracing language does the work inside the target; what it records is decoded here. Trap: what
a pointer led to was copied when the call was made, so it may be cut (`...`), and never changes afterwards.
"""
