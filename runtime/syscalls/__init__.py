"""System calls as data: numbers, names, and the names and C types of their arguments."""
