"""PTX as text: what it says (`reader`), and the same text with probes pasted in (`weave`).

Output is the input with edits, never printed anew. One trap: PTX wants declarations before uses, and the
compiler's `.file` and `.section` lines stand at the end, so what we declare goes right behind the header.
"""
