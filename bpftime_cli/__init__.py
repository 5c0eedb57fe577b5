"""The command line: options, commands, renderers and messages. It assembles, it never patches or compiles."""

__version__ = "0.1.0"
