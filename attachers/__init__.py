"""Where and how a program is hooked on: attach types, patch plans, injection into processes."""
