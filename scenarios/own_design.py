"""A design of one's own, in Python: compare-and-set, with the balance as its own version number.

    arbsim run scenarios/two_regions.yaml --design scenarios/own_design.py:CompareAndSet

adds it to the designs of the scenario. The class has three parts: ``resources`` says what must exist, ``serve`` (not
needed here) runs a region's services, ``decide`` does what a client does with one operation. The base class
DatabaseDesign has the first two, and tries ``attempt`` again after 40001 and 40P01.

A field of the class is a parameter; give it an annotation and keep the class a frozen dataclass.
"""

from dataclasses import dataclass

from arbsim.designs.database import SELECT, DatabaseDesign
from arbsim.model import Accepted, Failed, Kind, Operation, Outcome, Rejected
from arbsim.worlds.api import Region

COMPARE_AND_SET = "UPDATE acct SET balance = $1, updated_at = now() WHERE id = $2 AND balance = $3"


@dataclass(frozen=True)
class CompareAndSet(DatabaseDesign):
    """SELECT, think, then UPDATE only if the balance is still the one that was read; otherwise read again."""

    name = "own/compare-and-set"
    summary = (
        "SELECT, think, then UPDATE ... WHERE balance = the balance that was read; no row means: read again."
    )

    tries: int = 20

    async def attempt(self, op: Operation, region: Region) -> Outcome:
        """Read, decide in code, write if nobody came between."""
        if op.kind is Kind.TRANSFER:
            return Failed("a transfer needs two rows, and this design knows one")
        async with region.database.acquire() as connection:
            for _ in range(self.tries):
                balance = await connection.fetchval(SELECT, op.account)
                if op.kind is Kind.READ:
                    return Accepted(balance)
                new = balance + op.amount if op.kind is Kind.DEPOSIT else balance - op.amount
                if new < 0:
                    return Rejected()
                if await connection.execute(COMPARE_AND_SET, new, op.account, balance) == "UPDATE 1":
                    return Accepted(new)
                region.retried()
        return Failed(f"somebody else came between {self.tries} times")
