"""Native code: eBPF to LLVM IR, compiling without vector registers, linking per target, cache by content."""
