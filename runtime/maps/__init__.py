"""Maps: shape, layout in the region, fast paths for the compiler and readers for the tracer, a file a kind."""
