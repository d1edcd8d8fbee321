"""Every order of a few operations: what can happen to a design, what never does."""
