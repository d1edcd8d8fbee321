"""The audit: independent checks over a history, which give findings and a verdict."""
