"""A few operations out of a workload: no more can be tried in every order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arbsim.model import Cents, Operation, Workload


@dataclass(frozen=True, slots=True)
class Slice:
    """The operations that are explored, numbered from 1, and what they are called in the scenario's workload."""

    workload: Workload
    originals: tuple[int, ...]
    whole: bool


def slice_of(workload: Workload, most: int) -> Slice:
    """Return at most ``most`` operations of one account: of the one that the most operations touch, if all are alike.

    Accounts come first that several regions touch, and operations that follow each other, are of several regions and
    take out more than there was at the beginning: with others no order could break the rule.
    """
    if len(workload) <= most:
        return Slice(workload, tuple(op.id for op in workload), True)
    grouped = workload.by_account
    regions = {account: len({op.region for op in ops}) for account, ops in grouped.items()}
    ranked = sorted(grouped, key=lambda account: (regions[account] <= 1, -len(grouped[account]), account))
    for account in ranked:
        found = _at_stake(grouped[account], account, most, workload.accounts[account])
        if found is not None:
            return renumbered(workload, found, whole=False)
    chosen = grouped[ranked[0]][:most]
    if most > 1 and not _of_several_regions(chosen):
        others = [op for op in grouped[ranked[0]] if op.region != chosen[0].region]
        chosen = sorted([*chosen[:-1], *others[:1]], key=lambda op: op.id) if others else chosen
    return renumbered(workload, chosen, whole=False)


def _at_stake(
    operations: Sequence[Operation], account: int, most: int, balance: Cents
) -> list[Operation] | None:
    """The first operations in a row, of several regions, that together take out more than the balance."""
    for start in range(len(operations) - most + 1):
        row = list(operations[start : start + most])
        if _of_several_regions(row) and -sum(min(0, op.delta(account)) for op in row) > balance:
            return row
    return None


def _of_several_regions(operations: Sequence[Operation]) -> bool:
    return len({op.region for op in operations}) > 1


def renumbered(workload: Workload, chosen: list[Operation], whole: bool) -> Slice:
    """Number the chosen operations from 1, and keep the accounts that they touch."""
    touched = {account for op in chosen for account in (op.account, op.to_account) if account is not None}
    accounts = {account: cents for account, cents in workload.accounts.items() if account in touched}
    operations = tuple(op._replace(id=number) for number, op in enumerate(chosen, start=1))
    return Slice(Workload(operations, accounts), tuple(op.id for op in chosen), whole)
