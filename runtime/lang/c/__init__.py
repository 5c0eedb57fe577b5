"""C as scripts use it: definitions to types, the preprocessor, and what a name of a type means.

Nothing here reads the traced program's memory; layouts are those of the x86-64 System V ABI.
"""
