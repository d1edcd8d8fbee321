"""arbsim: who arbitrates when two regions write the same key."""

__version__ = "0.1.0"
