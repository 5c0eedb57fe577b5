"""From a path or PID to addresses, names and function bounds."""
