"""The report as Markdown; whatever came from the scenario stays what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from arbsim.agreement import Agreements
from arbsim.explanation import Explanation, Side
from arbsim.report import agreement, live, story, words
from arbsim.report.explanations import GLOSSARY
from arbsim.report.ledger import ledger
from arbsim.report.mermaid import sequence_diagram
from arbsim.report.words import as_declared, clean, finals, findings_of, headline, verdict_of
from arbsim.results import DesignResult, Disagreement, LiveResults, Results

MOST_DISAGREEMENTS = 25

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&-])")


def escape(text: str) -> str:
    """Return text that Markdown shows letter by letter."""
    return _SPECIAL.sub(r"\\\1", clean(text))


def code(text: str) -> str:
    """Return text as inline code."""
    text = clean(text)
    fence = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    return f"{fence} {text} {fence}" if "`" in text else f"`{text}`"


def cell(text: str) -> str:
    """Return text as inline code in a table, where a bar would end the cell."""
    return code(text).replace("|", "\\|")


def render(results: Results) -> str:
    """Return the report."""
    return "\n".join(_lines(results)).rstrip() + "\n"


def _lines(results: Results) -> Iterator[str]:
    yield f"# {escape(results.name)}\n"
    if results.question:
        yield f"**{escape(results.question)}**\n"
    yield f"{headline(results)} {escape(live.sentence(results))}\n"
    yield from _two_by_two(results)
    yield from _designs(results)
    if isinstance(results, LiveResults):
        yield from _servers(results)
    yield from _warnings(results)
    yield from _balances(results)
    yield from _findings(results)
    yield from _explanations(results)
    yield from _beliefs(results)
    yield from _costs(results)
    yield from _expectations(results)
    yield from _disagreements(results)
    yield from _judged(results)
    yield from _claims(results)
    yield "## Assumptions and limits of the model\n"
    yield from (f"- **{escape(title)}.** {escape(text)}" for title, text in live.limits(results))
    yield ""
    yield from _parameters(results)
    yield "## Glossary\n"
    yield from (f"- **{escape(word)}**: {escape(meaning)}" for word, meaning in GLOSSARY)
    yield ""
    yield "## Manifest\n"
    manifest = results.manifest
    yield f"- arbsim {manifest.arbsim}, seed {manifest.seed}"
    yield f"- scenario SHA-256 {code(manifest.scenario_sha256)}"
    yield f"- workload SHA-256 {code(manifest.workload_sha256)}"
    yield f"- replay: {code(manifest.replay)}"
    if isinstance(results, LiveResults):
        yield f"- {escape(live.reproduces(results))}"
        yield f"- {escape('; '.join(f'{name} {value}' for name, value in results.live.machine.items()))}"
    yield ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table; its cells are Markdown already."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def _two_by_two(results: Results) -> Iterator[str]:
    def quarter(agreement: str, family: str) -> str:
        found = [
            f"{cell(name)} {verdict_of(result)}"
            for name, result in results.designs.items()
            if (result.agreement, result.family) == (agreement, family)
        ]
        return "<br>".join(found) or "(none here)"

    yield "## What arbitrates\n"
    rows = [
        [agreement, quarter(agreement, "bus"), quarter(agreement, "db")]
        for agreement in ("asynchronous", "synchronous")
    ]
    yield from table(["agreement", "log", "database"], rows)
    for family in results.families:
        yield f"- {'log' if family.family == 'bus' else 'database'}: {escape(family.replicas)};"
        yield f"  {escape(family.quorum)}; recovery point: {escape(family.recovery_point)};"
        yield f"  gateway: {escape(family.gateway)}."
    yield ""


def _designs(results: Results) -> Iterator[str]:
    yield "## Verdicts\n"
    rows = []
    for name, result in results.designs.items():
        counts = {kind.value: finding.count for kind, finding in result.findings.items()}
        rows.append(
            [
                cell(name),
                verdict_of(result),
                words.evidence(result),
                as_declared(result),
                str(counts["overdraft"]),
                str(counts["lost_update"]),
                escape(finals(result)),
                cell(result.cure) if result.cure else "",
            ]
        )
    head = ["design", "verdict", "evidence", "claim", "overdraft", "lost", "final (first account)", "cure"]
    yield from table(head, rows)
    yield from (f"- {escape(sentence)}" for sentence in (*words.orders(results), *live.caveats(results)))
    for reason, names in words.inconclusive(results).items():
        yield f"- inconclusive: {', '.join(map(code, names))}: {reason}."
    yield ""


def _servers(results: LiveResults) -> Iterator[str]:
    yield "## Servers\n"
    yield from table(["server", "product", "stands for", "settings"], _escaped(live.server_rows(results)))
    yield from table(["region", "server", "round trip ms", "measured ms"], _escaped(live.link_rows(results)))
    yield from (
        f"- not run: {code(name)}: {escape(reason)}." for name, reason in results.live.not_run.items()
    )
    yield ""
    if results.live.streams:
        yield "## The change stream\n"
        yield f"{live.STREAM_NOTE}\n"
        yield from table([*live.STREAM_HEAD], _escaped(live.stream_rows(results)))
    yield "## Live and simulated\n"
    yield f"{live.beside(results)}\n"
    head = ["design", "same", "live", "simulated", "final live", "final simulated", "p99 ms", "p99 simulated"]
    yield from table(head, _escaped(list(live.side_by_side(results))))
    if results.live.agreement is not None:
        yield from _agreement(results.live.agreement)


def _agreement(found: Agreements) -> Iterator[str]:
    yield "## How often servers and model break\n"
    yield f"{escape(agreement.what(found))}\n"
    yield from table([*agreement.HEAD], _escaped(agreement.rows(found)))
    yield f"{escape(agreement.calibrated(found))}\n"
    yield from table([*agreement.LINK_HEAD], _escaped(agreement.link_rows(found)))
    if found.calibration.flows:
        yield from table([*agreement.FLOW_HEAD], _escaped(agreement.flow_rows(found)))


def _escaped(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[escape(text) for text in row] for row in rows]


def _warnings(results: Results) -> Iterator[str]:
    cautions = words.gathered(results.warnings)
    if cautions:
        yield "## Warnings that weaken a pass\n"
        for caution in cautions:
            where = f" {', '.join(map(code, caution.designs))}:" if caution.designs else ""
            yield f"- {caution.id}{where} {escape(caution.text)}. {escape(caution.next_step)}"
        yield ""


def _balances(results: Results) -> Iterator[str]:
    yield "## Balances against what was accepted\n"
    rows = []
    for name, result in results.designs.items():
        for row in result.differences[:20]:
            causes = "; ".join(words.cause(results, cause) for cause in row.causes[:10])
            rows.append(
                [
                    cell(name),
                    str(row.account),
                    escape(row.store),
                    row.expected,
                    row.actual,
                    row.difference,
                    escape(causes),
                ]
            )
    if rows:
        yield from table(["design", "account", "store", "expected", "actual", "difference", "causes"], rows)
    equal = sum(result.balances_count - result.differences_count for result in results.designs.values())
    yield f"{equal} balances are equal to what was accepted.\n"


def _findings(results: Results) -> Iterator[str]:
    yield "## Findings\n"
    found = False
    for name, result in results.designs.items():
        for kind, count, amount, told in findings_of(results, result):
            found = True
            yield f"- {code(name)}: {kind.value} {count} ({amount}): {escape(told)}."
    yield "" if found else "None.\n"


def _explanations(results: Results) -> Iterator[str]:
    """The first finding of each violated design as a proof, a diagram and a table, and its twin."""
    explained = {name: one.explanation for name, one in results.designs.items() if one.explanation}
    if explained:
        yield "## Step by step\n"
    for name, explanation in explained.items():
        yield f"### {code(name)}, step by step\n"
        proof = story.proof(results, name)
        yield f"**Claim.** {escape(proof.claim)}\n"
        yield from (escape(sentence) for sentence in proof.given)
        yield ""
        yield from (f"{number}. {escape(told)}" for number, told in enumerate(proof.steps, start=1))
        yield ""
        yield from (escape(sentence) for sentence in proof.follows)
        yield ""
        yield from _side(explanation, explanation.broken)
        if explanation.twin is not None:
            which = "its cure" if explanation.is_cure else "a design that holds"
            twin = explanation.twin
            yield f"**The same operations through {code(twin.design)}, {which}.** {escape(story.saved(explanation))}\n"
            yield from _side(explanation, twin)


def _side(explanation: Explanation, side: Side) -> Iterator[str]:
    diagram, left_out = sequence_diagram(explanation, side)
    yield "```mermaid"
    yield diagram
    yield "```\n"
    if left_out:
        yield f"{left_out} messages are left out of the diagram; the table has all.\n"
    lanes = {lane.id: lane for lane in side.lanes}
    regions = story.believers(side)
    begin = [
        "",
        "",
        "",
        "",
        "before",
        *(side.opening.get(region, "") for region in regions),
        side.opening_true,
    ]
    rows = [
        [
            str(step.number),
            f"{step.time_ms:.3f}",
            escape(lanes[step.lane].region),
            escape(story.actor(lanes[step.lane])),
            escape(story.action(explanation, side, step)) + _marks(step.marks),
            *(step.believed.get(region, "") for region in regions),
            step.true or "",
        ]
        for step in side.steps
    ]
    believed = [f"{escape(region)} believes" for region in regions]
    yield from table(["step", "ms", "region", "actor", "action", *believed, "true"], [begin, *rows])


def _marks(marks: Sequence[str]) -> str:
    """What is to be seen in a step, as a word."""
    told = [story.MARKS[mark] for mark in marks if mark != "decision"]
    return f" **({', '.join(told)})**" if told else ""


def _beliefs(results: Results) -> Iterator[str]:
    yield "## Who knew what when\n"
    rows = [
        [
            cell(name),
            f"{belief.time_ms:.3f}",
            escape(belief.place),
            f"op {belief.operation}",
            str(belief.account),
            belief.believed,
            belief.true,
            belief.fate.value if belief.fate else "never answered",
        ]
        for name, result in results.designs.items()
        for belief in result.beliefs
    ]
    yield from table(["design", "ms", "where", "operation", "account", "believed", "true", "fate"], rows)


def _costs(results: Results) -> Iterator[str]:
    yield "## The cost of safety\n"
    rows = [
        [
            cell(name),
            escape(one.region),
            words.number(one.recorded.p50_ms),
            words.number(one.recorded.p99_ms),
            words.number(one.fate.p50_ms),
            words.number(one.fate.p99_ms),
        ]
        for name, result in results.designs.items()
        for one in result.costs.latency
    ]
    yield from table(["design", "region", "recorded p50 ms", "recorded p99", "fate p50 ms", "fate p99"], rows)
    yield f"{live.other_costs(results)}.\n"
    rows = [[cell(name), *_other_costs(result)] for name, result in results.designs.items()]
    yield from table(
        [
            "design",
            "WAN round trips per accepted",
            "messages per accepted",
            "client retries",
            "server retries",
            "one hot key, operations/s",
            "wrong rejections",
        ],
        rows,
    )


def _other_costs(result: DesignResult) -> list[str]:
    costs = result.costs
    return [
        words.number(costs.wan_round_trips_per_accepted),
        words.number(costs.messages_per_accepted),
        str(costs.client_retries),
        str(costs.server_retries),
        words.number(costs.hot_key_ceiling_per_s),
        str(result.rejections.certainly_wrong),
    ]


def _expectations(results: Results) -> Iterator[str]:
    yield "## Expectations\n"
    rows = [
        [cell(one.design), escape(one.what), escape(one.expected), escape(one.observed), one.status]
        for one in results.expectations
    ]
    yield from table(["design", "what", "expected", "observed", "status"], rows)


def _disagreements(results: Results) -> Iterator[str]:
    yield "## Where designs disagree\n"
    yield f"Operations that do not end alike in all designs: {results.disagreements.count}.\n"
    shown = results.disagreements.first[:MOST_DISAGREEMENTS]
    rows = [
        [escape(words.described(one.operation)), *(_ending(one, fate) for fate in ("accepted", "rejected"))]
        for one in shown
    ]
    if rows:
        yield from table(["operation", "accepted by", "rejected by"], rows)


def _ending(one: Disagreement, fate: str) -> str:
    return ", ".join(cell(name) for name, ended in one.fates.items() if ended.value == fate)


def _claims(results: Results) -> Iterator[str]:
    yield "## Claims, one by one\n"
    for claim in ledger(results):
        yield f"### {claim.id}. {escape(claim.sentence)}\n"
        yield f"{claim.word}\n"
        yield from (f"- {escape(fact)}" for fact in claim.evidence)
        yield f"{chr(10) if claim.evidence else ''}What it does not say: {escape(claim.not_claimed)}\n"


def _judged(results: Results) -> Iterator[str]:
    yield "## What was judged\n"
    for name, result in results.designs.items():
        yield f"### {code(name)}\n"
        yield f"{escape(result.summary)}\n"
        for step in result.steps:
            longest = max((len(run) for run in re.findall(r"`+", step)), default=0)
            fence = "`" * max(3, longest + 1)
            yield fence
            yield from (clean(line) for line in step.splitlines())
            yield fence
        for statement in result.statements:
            yield f"- {statement.count} x {code(statement.text)}"
        yield ""


def _parameters(results: Results) -> Iterator[str]:
    yield "## Parameters of the model\n"
    rows = [
        [cell(row.name), escape(row.value), escape(row.meaning), escape(row.source)]
        for row in results.parameters
    ]
    yield from table(["parameter", "value", "meaning", "source"], rows)
