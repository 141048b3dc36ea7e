"""What the GPU says: one file a source, the sampler, and the ring file that consoles read."""
