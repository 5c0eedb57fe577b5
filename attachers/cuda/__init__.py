"""CUDA kernels: reading images, weaving probes into their PTX, assembling, hooking the driver's loads."""
