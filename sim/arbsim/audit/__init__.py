"""The checks over a history. They know no world: a history from a simulation and one from servers are judged alike."""

from arbsim.audit.judge import (
    Judgement,
    ShortAudits,
    audit,
    broken_accounts,
    claimed,
    judge_orders,
    short_audit,
)

__all__ = ["Judgement", "ShortAudits", "audit", "broken_accounts", "claimed", "judge_orders", "short_audit"]
