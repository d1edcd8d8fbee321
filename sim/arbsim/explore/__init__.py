"""Every order of a few operations: what can happen to a design, what never does, and the shortest way to harm."""
