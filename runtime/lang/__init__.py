"""The tracing language: text to `Script` to an eBPF `Object`. Touches nothing but memory."""
