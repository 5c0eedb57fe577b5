"""DWARF debug info of programs: types, parameters of functions, lines of sources.

Read by hand and only where it is asked for: a name is looked for in the string section first, and only units
that mention it are decoded. Whatever is damaged gives an `ObjectProblem` or is as if it were not there.
"""
