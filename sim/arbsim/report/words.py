"""The one place for prose: verdicts, findings told as sentences, and what to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from arbsim.document import OperationRow
from arbsim.model import FindingKind, Kind, Verdict
from arbsim.results import Cause, Caution, DesignResult, Results, Witness

GLYPHS = {Verdict.HOLDS: "+", Verdict.NONE_SEEN: "+", Verdict.VIOLATED: "x", Verdict.INCONCLUSIVE: "?"}

VERDICTS = {
    Verdict.HOLDS: "holds",
    Verdict.NONE_SEEN: "none seen",
    Verdict.VIOLATED: "violated",
    Verdict.INCONCLUSIVE: "inconclusive",
}

REASONS = {
    "no-contention": "no two operations on one account met, so nothing was tested",
    "undecided-outcomes": "operations whose outcome nobody knows decide whether there was an overdraft",
    "stopped": "the run did not end by itself",
    "empty": "the workload has no operations",
}

_FINDINGS = {
    FindingKind.OVERDRAFT: "{operations} took {amount} more than account {account} held in any legal order",
    FindingKind.OVERDRAFT_OWN_ORDER: "in its own order {operations} took {amount} too much from account {account}",
    FindingKind.DUPLICATE_EFFECT: "{operations} took effect more than once on account {account} ({amount})",
    FindingKind.DIVERGENCE: "the regions disagree on account {account} by {amount} ({operations})",
    FindingKind.CONSERVATION: "one half of the transfer {operations} is missing or doubled ({amount})",
    FindingKind.STALE_READ: "{operations}: the read missed what had been acknowledged before it",
}


def clean(text: str) -> str:
    """Text of the scenario with what a terminal or a page would act on made visible."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else "\\" + char.encode("unicode_escape").decode().lstrip("\\")
        for char in text
    )


def verdict_of(result: DesignResult) -> str:
    """A glyph and a word."""
    return f"{GLYPHS[result.verdict]} {VERDICTS[result.verdict]}"


def as_declared(result: DesignResult) -> str:
    """How the verdict stands to what the design claims."""
    if result.verdict is Verdict.VIOLATED:
        return "as declared" if result.as_declared == "yes" else "against its claim"
    return {"yes": "as declared", "no": "against its claim", "undecided": "undecided"}[result.as_declared]


def headline(results: Results) -> str:
    """One sentence that answers for all designs."""
    broken = [result for result in results.designs.values() if result.verdict is Verdict.VIOLATED]
    surprises = [result for result in broken if result.as_declared == "no"]
    total = len(results.designs)
    untested = [result for result in results.designs.values() if result.verdict is Verdict.INCONCLUSIVE]
    but = f" {len(untested)} of {total} are inconclusive." if untested else ""
    holding = sum(result.verdict is Verdict.HOLDS for result in results.designs.values())
    verb = "holds" if holding == 1 else "hold"
    held = f" {holding} of {total} {verb} in every order of these operations." if holding else ""
    if len(untested) == total:
        return "Nothing was tested: every design is inconclusive."
    if not broken:
        who = "The one design was not" if total == 1 else f"None of {total} designs was"
        return f"{who} seen to break.{held}{but}"
    how = "all as declared" if not surprises else f"{len(surprises)} against their own claims"
    breaks = "breaks" if len(broken) == 1 else "break"
    return f"{len(broken)} of {total} designs {breaks}, {how}.{held}{but}"


def inconclusive(results: Results) -> dict[str, list[str]]:
    """Why designs are inconclusive: the reason as a sentence, and the designs that it is about."""
    told: dict[str, list[str]] = {}
    for name, result in results.designs.items():
        for reason in result.reasons:
            told.setdefault(REASONS.get(reason, reason), []).append(name)
    return told


def findings_of(results: Results, result: DesignResult) -> Iterator[tuple[FindingKind, int, str, str]]:
    """Each kind that was found: kind, count, money, and its first case as a sentence."""
    for kind, finding in result.findings.items():
        if finding.count and finding.first is not None:
            yield kind, finding.count, finding.amount, sentence(results, kind, finding.first)


def sentence(results: Results, kind: FindingKind, witness: Witness) -> str:
    """Tell one finding, with its operations by name."""
    names = [operation_name(results, number) for number in witness.operations]
    if kind is FindingKind.LOST_UPDATE:
        lost = f"{names[0]} was accepted, and the balance of account {witness.account} does not contain it"
        return f"{lost}: {names[1]} overwrote it" if len(names) > 1 else f"{lost}: it never arrived"
    if kind is FindingKind.UNEXPLAINED:
        who = " and ".join(names) or "no operation"
        return f"{witness.amount} on account {witness.account} is explained by no accepted operation ({who})"
    return _FINDINGS[kind].format(
        operations=" and ".join(names), account=witness.account, amount=witness.amount
    )


def operation_name(results: Results, number: int) -> str:
    """An operation as people name it: "op 7 (east withdraws 60.00)"."""
    rows = results.workload.rows
    if 0 < number <= len(rows):
        row = rows[number - 1]
        return f"op {number} ({clean(row.region)} {row.kind.value}s {row.amount})"
    return f"op {number}"


def finals(result: DesignResult, most: int = 1) -> str:
    """The final balances of the first accounts, by store where the stores differ."""
    return finals_of(result.final, most)


def finals_of(final: Mapping[str, Mapping[str, str]], most: int = 1) -> str:
    """The balances of the first accounts, given by account and store."""
    texts = []
    for stores in list(final.values())[:most]:
        values = dict.fromkeys(stores.values())
        same = len(values) == 1
        texts.append(next(iter(values)) if same else ", ".join(f"{clean(k)} {v}" for k, v in stores.items()))
    return "; ".join(texts)


def balances(stores: Mapping[str, str]) -> str:
    """One account's balances, by store where the stores differ."""
    values = list(dict.fromkeys(stores.values()))
    return (
        values[0]
        if len(values) == 1
        else ", ".join(f"{store} {balance}" for store, balance in stores.items())
    )


def evidence(result: DesignResult, count: Callable[[int], str] = "{:,}".format) -> str:
    """What the verdict stands on. ``count`` writes a number of orders."""
    found, runs = result.evidence.every_order, result.evidence.runs
    if found is None:
        return f"{runs} run{'' if runs == 1 else 's'}"
    if found.orders is None or found.violating_orders is None:
        tried, violating, unit = found.classes, found.violating_classes, "classes of orders"
    else:
        tried, violating, unit = found.orders, found.violating_orders, "orders"
    if not violating:
        return f"all {count(tried)} {unit}"
    return f"{count(violating)} of {count(tried)} {unit}{'' if found.complete else ' tried'}"


def orders(results: Results) -> Iterator[str]:
    """What the verdicts that stand on every order mean, as sentences."""
    tried = [result.evidence.every_order for result in results.designs.values()]
    bounds = list(dict.fromkeys(bound for one in tried if one is not None for bound in one.bounds))
    if bounds:
        yield (
            "Where a verdict counts orders, the same operations were tried in every order in which the models can take"
            " their steps, whatever the delays. It says nothing of other operations."
        )
        if not all(one.complete for one in tried if one is not None):
            yield "Where it says tried, there were too many orders, and only so many of them were."
        yield f"The same in all orders: {'; '.join(bounds)}."


def p99(result: DesignResult) -> str:
    """The 99th percentile of the time to fate over all regions, in milliseconds."""
    return number(result.costs.latency[-1].fate.p99_ms)


def number(value: float | None) -> str:
    """A figure with one digit after the point, or a dash."""
    return "-" if value is None else f"{value:.1f}"


def contention(result: DesignResult) -> str:
    """How often operations on one account met."""
    met = result.contention
    return (
        f"{met.overlapping_pairs} overlapping pairs, {met.unseen_pairs} pairs that had not seen each other,"
        f" {met.waits} waits"
    )


def described(row: OperationRow) -> str:
    """An operation in full: "op 7: east withdraws 60.00 from account 1"."""
    where = {
        Kind.WITHDRAW: f"from account {row.account}",
        Kind.DEPOSIT: f"to account {row.account}",
        Kind.TRANSFER: f"from account {row.account} to {row.to_account}",
        Kind.READ: f"account {row.account}",
    }[row.kind]
    amount = "" if row.kind is Kind.READ else f" {row.amount}"
    return f"op {row.id}: {clean(row.region)} {row.kind.value}s{amount} {where}"


def cause(results: Results, one: Cause) -> str:
    """Why money is missing or too much, as a sentence without its point."""
    name = "" if one.operation is None else operation_name(results, one.operation)
    if one.kind == "lost":
        then = f"overwritten by op {one.by}" if one.by is not None else "never arrived"
        return f"{one.amount}: {name} was accepted, then {then}"
    told = {
        "doubled": f"{name} took effect more than once",
        "not-accepted": f"{name} took effect without being accepted",
        "half-transfer": f"{name} took effect by half",
        "unexplained": "no operation explains it",
    }[one.kind]
    return f"{one.amount}: {told}"


def unexplained(results: Results) -> str:
    """The money that nothing explains, by design; 0.00 where there is none."""
    amounts = {
        clean(name): result.findings[FindingKind.UNEXPLAINED].amount
        for name, result in results.designs.items()
        if result.findings[FindingKind.UNEXPLAINED].count
    }
    return ", ".join(f"{name} {amount}" for name, amount in amounts.items()) or "0.00"


@dataclass(frozen=True, slots=True)
class Gathered:
    """One warning for all the designs that it is about."""

    id: str
    designs: tuple[str, ...]
    text: str
    next_step: str


def gathered(warnings: Iterable[Caution]) -> tuple[Gathered, ...]:
    """Put warnings that say the same of several designs together, in order of their first."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for one in warnings:
        designs = together.setdefault((one.id, one.text, one.next_step), [])
        if one.design is not None:
            designs.append(one.design)
    return tuple(
        Gathered(name, tuple(designs), text, next_step)
        for (name, text, next_step), designs in together.items()
    )
