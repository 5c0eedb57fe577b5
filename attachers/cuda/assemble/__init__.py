"""PTX text → cubin, by NVIDIA's `ptxas` or its linker library; what they say is told by our own lines.

Both run in processes of their own: they end at some inputs, and the tracer must live on.
"""
