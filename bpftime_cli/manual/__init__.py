"""The manual page and the completions, made from the tree of commands: `python -m bpftime_cli.manual --write`.

What is written is checked in; a test compares it with a fresh run. Nothing here is imported by a command.
"""
