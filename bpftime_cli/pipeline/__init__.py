"""The pipeline: from what the user asked to the last printed map. The only place that assembles all."""
