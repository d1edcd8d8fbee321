"""Making a violating run small: the fewest operations, regions and settings that still show it, and what is free."""
