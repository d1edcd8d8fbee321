"""The one place for prose: verdicts, findings told as sentences, and what to change."""

from __future__ import annotations

from collections.abc import Iterator

from arbsim.model import FindingKind, Verdict
from arbsim.results import DesignResult, Results, Witness

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
    if not broken:
        return f"None of {total} designs was seen to break."
    how = "all as declared" if not surprises else f"{len(surprises)} against their own claims"
    return f"{len(broken)} of {total} designs break, {how}."


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
    texts = []
    for stores in list(result.final.values())[:most]:
        values = dict.fromkeys(stores.values())
        same = len(values) == 1
        texts.append(next(iter(values)) if same else ", ".join(f"{clean(k)} {v}" for k, v in stores.items()))
    return "; ".join(texts)
