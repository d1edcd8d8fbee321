"""The exhaustive world: the virtual world's models under a scheduler that tries every order."""
