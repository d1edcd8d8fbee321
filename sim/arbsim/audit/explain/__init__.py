"""Explains a finding: which operations made it, what each was decided on, and what was true by then."""

from arbsim.audit.explain.account import AccountFacts, Asked, asked_of, first_finding
from arbsim.audit.explain.side import explained_side

__all__ = ["AccountFacts", "Asked", "asked_of", "explained_side", "first_finding"]
