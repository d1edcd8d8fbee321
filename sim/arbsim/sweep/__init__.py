"""Sweeps: a scenario over many parameters and seeds, with an interval on every number."""
