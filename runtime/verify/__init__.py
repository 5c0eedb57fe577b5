"""Prove, guard or refuse: abstract interpretation of eBPF programs. Gives `Verified` or raises `Refused`."""
