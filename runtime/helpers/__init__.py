"""eBPF helpers: one table of signatures, and code for the inlined ones, a file a family."""
