"""Holding databases to cases with known answers: the virtual one, and real servers."""
