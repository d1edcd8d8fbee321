"""The speed figures: each a ratio, so that it means the same on every machine."""
