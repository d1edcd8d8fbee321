"""One design on listed operations, as a scenario of its own: what a counterexample and a shrunk run are written as."""

from __future__ import annotations

from typing import Any

from arbsim.model import Kind, Operation, Workload
from arbsim.scenario.models import Scenario
from arbsim.scenario.quantities import Duration, Money


def standalone(scenario: Scenario, workload: Workload, seed: int, design: str) -> dict[str, Any]:
    """Return the scenario after defaults, as plain data, with this workload written out and with one design.

    A design that the scenario does not list is a class of the user's own; the list of designs then stays.
    """
    data = scenario.describe()
    for key in ("expect", "sweep", "silence"):
        data.pop(key, None)
    entries = [entry.written for entry in scenario.designs if entry.name == design]
    return {
        **data,
        "seed": seed,
        "accounts": {account: Money().write(cents) for account, cents in workload.accounts.items()},
        "workload": {"operations": [listed(op) for op in workload]},
        "designs": entries or data["designs"],
    }


def listed(op: Operation) -> dict[str, Any]:
    """Return an operation as a scenario lists it."""
    amount = True if op.kind is Kind.READ else Money().write(op.amount_cents)
    entry = {
        "at": Duration().write(op.at_ns),
        "region": op.region,
        op.kind.value: amount,
        "account": op.account,
    }
    return entry if op.to_account is None else {**entry, "to_account": op.to_account}
