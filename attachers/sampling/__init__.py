"""Programs that run now and then: by CPU time, by counters of processor and kernel, by watched memory.

A signal interrupts a thread of the process, and a handler of the agent runs the program with its registers.
CPU time is measured by a timer of the process itself; all else by events that the tracer opens for each
thread (perf_event_open(2)), which are gone with the tracer.
"""
