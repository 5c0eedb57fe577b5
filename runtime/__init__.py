"""eBPF itself and what runs in the target: language, objects, verifier, compiler, maps, memory, agent."""
