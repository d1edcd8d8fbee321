"""What the bus designs put on a topic: JSON, with money as strings."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Any

from pydantic_core import from_json, to_json

from arbsim.model import Accepted, Kind, Operation, Outcome, Rejected, to_cents

COMMANDS = "commands"
REPLIES = "replies"


def key_of(number: int) -> bytes:
    """The key of a record: an account number, or an operation id."""
    return b"%d" % number


def pack(message: dict[str, Any]) -> bytes:
    """Encode a message."""
    return to_json(message)


def unpack(value: bytes) -> dict[str, Any]:
    """Decode a message."""
    return from_json(value)  # type: ignore[no-any-return]


def command(op: Operation) -> bytes:
    """Encode an operation as a command."""
    message: dict[str, Any] = {
        "op": op.id,
        "kind": op.kind.value,
        "account": op.account,
        "amount": str(op.amount),
        "region": op.region,
    }
    if op.to_account is not None:
        message["to"] = op.to_account
    return pack(message)


def to_operation(value: bytes) -> Operation:
    """Decode a command."""
    message = unpack(value)
    return Operation(
        id=message["op"],
        at_ns=0,
        region=message["region"],
        kind=Kind(message["kind"]),
        account=message["account"],
        amount_cents=to_cents(Decimal(message["amount"])),
        to_account=message.get("to"),
    )


def reply(accepted: bool, balance: Decimal) -> bytes:
    """Encode what a client is told: its fate, and the balance that the decision left."""
    return pack({"accepted": accepted, "balance": str(balance)})


def to_outcome(message: Any) -> Outcome:
    """Decode what a client is told."""
    if message["accepted"]:
        return Accepted(Decimal(message["balance"]))
    return Rejected()


def allows(op: Operation, balance: Decimal) -> bool:
    """The rule that every design is to keep: an account is never overdrawn."""
    return op.kind in (Kind.DEPOSIT, Kind.READ) or balance >= op.amount


class RecentIds:
    """The ids of the operations seen last; what is older than ``capacity`` ids is forgotten.

    A real service bounds its memory in the same way: it ignores repeats within a window.
    """

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._order: deque[Any] = deque()
        self._known: set[Any] = set()

    def add(self, identity: Any) -> bool:
        """Note an id; return False where it was known already."""
        if identity in self._known:
            return False
        self._known.add(identity)
        self._order.append(identity)
        if len(self._order) > self._capacity:
            self._known.discard(self._order.popleft())
        return True
