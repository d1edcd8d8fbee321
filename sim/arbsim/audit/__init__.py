"""The checks over a history. They know no world: a history from a simulation and one from servers are judged alike."""

from arbsim.audit.judge import audit, claimed, judge_orders

__all__ = ["audit", "claimed", "judge_orders"]
