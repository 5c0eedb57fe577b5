"""Unwind tables: from .eh_frame of a file to what a walk through a stack reads in a process."""
