"""Maps: shape, layout in the region and readers for the tracer."""
