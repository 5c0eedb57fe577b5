"""The manual page and the completions, made from the commands: `python -m bpftime_cli.manual --write`.

What is written is checked in; a test compares it with a fresh run. Nothing here is imported by a command.
"""
