"""The vector index: one collection, two engines (Qdrant Edge in-process, Qdrant server), one vocabulary."""
