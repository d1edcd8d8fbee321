"""The virtual SQL database: PostgreSQL's and YugabyteDB's transactions as a synchronous state machine.

It runs the SQL text of ordinary applications in one process, without clock, I/O or threads:
`Engine.session().execute(sql, args)` answers with a `Result`, a `SqlError`, or a `Waiting` for a
statement that another transaction blocks.
"""

from .check import check_statement
from .engine import Engine
from .errors import SqlError
from .results import Change, Commit, Result, Work
from .session import Session, Waiting
from .storage import Version
from .whitelist import Problem

__all__ = [
    "Change",
    "Commit",
    "Engine",
    "Problem",
    "Result",
    "Session",
    "SqlError",
    "Version",
    "Waiting",
    "Work",
    "check_statement",
]
