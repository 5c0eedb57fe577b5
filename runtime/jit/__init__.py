"""Native code: lifting eBPF to LLVM IR, compiling without vector registers, linking per target, cache by content."""
