"""A few operations out of a workload: no more can be tried in every order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from arbsim.model import Operation, Workload


@dataclass(frozen=True, slots=True)
class Slice:
    """The operations that are explored, numbered from 1, and what they are called in the scenario's workload."""

    workload: Workload
    originals: tuple[int, ...]
    whole: bool


def slice_of(workload: Workload, most: int) -> Slice:
    """Return at most ``most`` operations: the first on the account that the most operations touch.

    Where they all come from one region, the last of them makes room for the first from another.
    """
    if len(workload) <= most:
        return Slice(workload, tuple(op.id for op in workload), True)
    grouped = workload.by_account
    regions = {account: len({op.region for op in ops}) for account, ops in grouped.items()}
    busiest = max(grouped, key=lambda account: (regions[account] > 1, len(grouped[account]), -account))
    chosen = grouped[busiest][:most]
    if most > 1 and len(Counter(op.region for op in chosen)) == 1:
        others = [op for op in grouped[busiest] if op.region != chosen[0].region]
        chosen = sorted([*chosen[:-1], *others[:1]], key=lambda op: op.id) if others else chosen
    return renumbered(workload, chosen, whole=False)


def renumbered(workload: Workload, chosen: list[Operation], whole: bool) -> Slice:
    """Number the chosen operations from 1, and keep the accounts that they touch."""
    touched = {account for op in chosen for account in (op.account, op.to_account) if account is not None}
    accounts = {account: cents for account, cents in workload.accounts.items() if account in touched}
    operations = tuple(op._replace(id=number) for number, op in enumerate(chosen, start=1))
    return Slice(Workload(operations, accounts), tuple(op.id for op in chosen), whole)
