"""An explanation in words: as a proof, on a terminal, and as a Mermaid diagram."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from arbsim.explanation import Explanation, Side
from arbsim.model import Verdict
from arbsim.report import html, markdown, story, story_text
from arbsim.report.mermaid import MOST_MESSAGES, escape, sequence_diagram
from arbsim.results import Results
from arbsim.runner import designs_of, run_scenario
from arbsim.scenario.load import parse_scenario
from arbsim.scenario.source import Source
from arbsim.selftest.mutants import Mutant, mutants
from arbsim.selftest.run import SCENARIO
from arbsim.workload import build_workload
from tests.report.results import HOSTILE, hostile, shipped

SCENARIOS = ("two_regions", "lost_update_trap", "cdc_distribution")


def explained(scenario: str) -> list[tuple[Results, str, Explanation]]:
    results = hostile() if scenario == "hostile" else shipped(scenario)
    return [
        (results, name, one.explanation)
        for name, one in results.designs.items()
        if one.explanation is not None
    ]


def both_sides(scenario: str) -> list[tuple[Explanation, Side]]:
    return [
        (explanation, side)
        for _, _, explanation in explained(scenario)
        for side in (explanation.broken, explanation.twin)
        if side is not None
    ]


def test_the_proof_says_who_read_what_and_who_had_not_seen_whom() -> None:
    proof = story.proof(shipped("two_regions"), "bus/regional-deltas")
    assert proof.claim == "bus/regional-deltas overdraws account 1 by 30.00."
    assert proof.given[0] == "Let op 1: west withdraws 60.00 from account 1, at 0.000 ms."
    assert proof.steps[1] == (
        "Op 2 was decided in east on 100.00, the opening balance, read at 16.300 ms (step 11). It was accepted, and"
        " took effect at 16.300 ms (step 12). It had not seen op 1, which took effect at 1.300 ms (step 5) and arrived"
        " there at 43.165 ms (step 16), 26.865 ms too late. True was 40.00."
    )
    assert "All were accepted: 100.00 - 60.00 - 70.00 = -30.00." in proof.follows


def test_a_read_that_went_stale_is_told_as_that() -> None:
    proof = story.proof(shipped("two_regions"), "db/select-then-update")
    assert "after that read, before this effect. By then 30.00 was true." in proof.steps[1]
    assert proof.follows[-1] == (
        "At the end the balance in database is 40.00 where -30.00 was accepted: 70.00: op 2 (east withdraws 70.00) was"
        " accepted, then overwritten by op 1."
    )


@pytest.mark.parametrize(
    ("design", "told"),
    [
        ("bus/regional-deltas", "commands-3 in east gave all of them one order"),
        ("bus/shared-table", "its UPDATE checked the rule on 30.00, written by op 2, and matched no row"),
        ("db/active-active", "it had waited for op 2; then its UPDATE checked the rule on 30.00"),
        ("db/select-then-update", "it had waited for op 2; then the west client decided it on 30.00"),
    ],
)
def test_the_twin_is_told_by_what_stopped_the_second_withdrawal(design: str, told: str) -> None:
    explanation = shipped("two_regions").designs[design].explanation
    assert explanation is not None
    assert story.saved(explanation).startswith("Op 1 was stopped at step ")
    assert told in story.saved(explanation)


@cache
def mutated(name: str) -> Results:
    """A safe design with a planted bug, on the workload of the self-test."""
    scenario = parse_scenario(Source("self-test", SCENARIO), folder=Path())
    (design,) = [one.design for one in mutants() if one.design.name == name]
    designs = {name: design, **designs_of(scenario)}
    return run_scenario(scenario, build_workload(scenario), scenario.seed, designs, "x").results


@pytest.mark.parametrize("mutant", [*mutants()], ids=lambda mutant: mutant.design.name)
def test_every_kind_of_finding_can_be_told_in_every_format(mutant: Mutant) -> None:
    name = mutant.design.name
    results = mutated(name)
    explanation = results.designs[name].explanation
    assert explanation is not None
    assert explanation.twin is not None
    proof = story.proof(results, name)
    assert name in proof.claim
    assert proof.steps
    assert proof.follows[-1].endswith(".")
    text = story_text.render(results, name)
    assert proof.claim in " ".join(text.split())
    assert story.saved(explanation) in " ".join(text.split())
    assert proof.claim in html.render(results)
    assert "```mermaid" in markdown.render(results)


# -- on a terminal -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", [*SCENARIOS, "hostile"])
def test_a_terminal_gets_lines_that_fit_and_nothing_that_acts_on_it(scenario: str) -> None:
    for results, name, _ in explained(scenario):
        text = story_text.render(results, name)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", text)
        if scenario != "hostile":
            assert max(map(len, text.splitlines())) <= 80


def test_the_picture_shows_each_message_from_lane_to_lane() -> None:
    text = story_text.render(shipped("two_regions"), "db/active-active")
    assert "   5    33.773  o---------->*" in text
    assert "   7    47.526  |     |     x  decision, refusal" in text


# -- Mermaid -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", [*SCENARIOS, "hostile"])
def test_a_diagram_is_small_enough_for_the_forges_and_every_line_is_one_that_mermaid_knows(
    scenario: str,
) -> None:
    known = re.compile(
        r"    ((participant|actor) p\d+ as [^;#\n]+|p\d+->>p\d+: .+|Note over p\d+: .+)|sequenceDiagram"
    )
    for explanation, side in both_sides(scenario):
        text, left_out = sequence_diagram(explanation, side)
        lines = text.splitlines()
        assert sum("->>" in line for line in lines) <= MOST_MESSAGES < 30
        assert len(text) < 5000
        assert left_out == 0
        for line in lines:
            bare = re.sub(r"#\d+;", "", line)
            assert known.fullmatch(bare), line
            assert not re.search(r"[<>`|*{}\[\]\\\"]", bare.replace("->>", "")), line


@pytest.mark.parametrize("text", [HOSTILE, "the end", "a;b", "%%{init}%%", "x\ny", "#35;"])
def test_no_name_becomes_syntax(text: str) -> None:
    escaped = re.sub(r"#\d+;", "", escape(text))
    assert not re.search(r"[;#<>%{}\n]|\bend\b", escaped)


def test_a_long_story_loses_what_matters_least_and_says_how_much() -> None:
    explanation, side = both_sides("two_regions")[0]
    count = len(side.steps)
    steps = tuple(
        step.model_copy(update={"number": step.number + times * count})
        for times in range(8)
        for step in side.steps
    )
    text, left_out = sequence_diagram(explanation, side.model_copy(update={"steps": steps}))
    shown = text.count("->>")
    assert left_out > 0
    assert shown + left_out == sum(step.source is not None for step in steps)
    assert shown <= MOST_MESSAGES
    assert len(text) < 5000
    assert "STALE READ" in text


def test_the_markdown_report_has_a_diagram_for_each_side_and_a_row_for_each_step() -> None:
    text = markdown.render(shipped("two_regions"))
    pairs = both_sides("two_regions")
    broken = [one for one in shipped("two_regions").designs.values() if one.verdict is Verdict.VIOLATED]
    assert text.count("```mermaid") == len(pairs) == 2 * len(broken)
    rows = re.findall(r"^\| \d+ \| \d+\.\d{3} \| .*$", text, flags=re.MULTILINE)
    assert len(rows) == sum(len(side.steps) for _, side in pairs)
