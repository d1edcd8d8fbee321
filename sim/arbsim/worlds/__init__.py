"""The worlds that a design can run in."""
