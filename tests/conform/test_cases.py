"""Case files: what they say, what is wrong with them, and where answers differ."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arbsim.conform.cases import (
    Answer,
    BadCase,
    Case,
    CaseFileError,
    Observed,
    case_of,
    dump_case,
    load_cases,
)
from arbsim.conform.differences import differences, same
from arbsim.conform.model import NotPlayable, play, problems_of
from arbsim.worlds.virtual.sql import Engine
from tests.conform.support import case, load

RECORDED = [
    *load("hermitage_postgres.json"),
    *load("accounts.json"),
    *load("found.json"),
    *load("hermitage_yugabyte.json"),
]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda one: str(one.id))
def test_the_model_answers_each_recorded_case_as_the_server_did(recorded: Case) -> None:
    assert problems_of(recorded) == []
    assert differences(recorded, play(recorded)) == []


@pytest.mark.parametrize("name", ["YB-17", "YB-19"])
def test_where_the_victim_depends_on_timing_the_case_says_so_and_both_never_commit(name: str) -> None:
    (one,) = [recorded for recorded in RECORDED if recorded.id == name]
    assert "depends on" in one.note
    ends = [
        answer.tag == "COMMIT"
        for step, answer in zip(one.steps, play(one).steps, strict=True)
        if step.sql == "commit"
    ]
    assert not all(ends) or len(ends) < 2


def test_a_wrong_expectation_is_told_with_its_step_and_key() -> None:
    entry = dump_case(load("accounts.json")[0])
    entry["steps"][2]["expect"]["rowcount"] = 7
    entry["final"]["rows"] = [[1, 99, 0]]
    wrong = case_of(entry)
    assert isinstance(wrong, Case)
    found = differences(wrong, play(wrong))
    assert [(one.step, one.key, one.expected, one.observed) for one in found] == [
        (2, "rowcount", 7, 1),
        (None, "rows", [[1, 99, 0]], [[1, 20, 0]]),
    ]


def test_a_step_for_a_waiting_session_is_not_issued_and_a_wait_without_end_is_unfinished() -> None:
    stuck = case("A: begin; update t set v = 2", "B: update t set v = 3", "B: select 1")
    assert play(stuck, lambda: Engine("yugabyte")) == Observed(
        [
            Answer(tag="UPDATE 2", rowcount=2),
            Answer(blocks=True, unfinished=True),
            Answer(skipped=True),
        ],
        [[1, 10], [2, 20]],
    )


def test_two_sessions_let_go_at_once_are_a_race() -> None:
    begin = ("A: begin", "A: update t set v = v + 1 where id = 1")
    one = case(*begin, "B: update t set v = v * 2 where id = 1", "A: commit")
    two = case(*begin, *(f"{name}: update t set v = v * 2 where id = 1" for name in "BC"), "A: commit")
    assert not play(one).raced
    assert play(two).raced


def test_a_case_whose_set_up_fails_cannot_be_played() -> None:
    with pytest.raises(NotPlayable, match=r"set-up fails at 'insert into nothing.*does not exist"):
        play(case("A: select 1", setup=["insert into nothing values (1)"]))


def test_sql_outside_the_subset_is_told_with_its_step_and_a_servers_own_error_is_not() -> None:
    mixed = case("A: select nonsense from t", "B: select * from t join t u using (id)")
    assert {text.partition(":")[0] for text in problems_of(mixed)} == {"step 1 (B)"}


def write(folder: Path, document: Any, name: str = "cases.json") -> Path:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


GOOD = {"id": "good", "setup": {"sql": []}, "sessions": ["A"], "steps": [{"session": "A", "sql": "select 1"}]}


def test_one_bad_case_leaves_the_others_standing(tmp_path: Path) -> None:
    unknown = {**GOOD, "id": "unknown", "steps": [{"session": "Z", "sql": "select 1"}]}
    worse = {"id": "worse", "setup": [], "sessions": ["A"], "steps": [{"sql": 1}]}
    path = write(tmp_path, {"cases": [GOOD, unknown, worse, 7]})
    good, *bad = load_cases(path)
    assert isinstance(good, Case)
    assert bad == [
        BadCase("unknown", ('step 0: unknown session "Z"; the sessions are A',)),
        BadCase("worse", ("step 0 session: field required", "step 0 sql: input should be a valid string")),
        BadCase("number 4", ("the case: input should be a dictionary or an instance of Case",)),
    ]


def test_a_key_that_is_written_wrong_is_a_mistake_and_not_a_check_that_never_fails() -> None:
    step = {"session": "A", "sql": "select 1", "expects": {}}
    answer = {"session": "A", "sql": "select 1", "expect": {"row_count": 1}}
    wrong = {
        **GOOD,
        "steps": [step, answer],
        "final": {"sql": "select 1", "row": []},
        "levles": ["serializable"],
    }
    bad = case_of(wrong)
    assert isinstance(bad, BadCase)
    assert bad.mistakes == (
        'step 0: unknown key "expects"; did you mean "expect"?',
        'step 1 expect: unknown key "row_count"; did you mean "rowcount"?',
        'final: unknown key "row"; did you mean "rows"?',
        'the case: unknown key "levles"; did you mean "levels"?',
    )


def test_a_rowcount_of_0_is_expected_as_none_is() -> None:
    entry = dump_case(case("A: update t set v = 0 where id = 99"))
    entry["steps"][0]["expect"] = {"rowcount": 0, "tag": "UPDATE 0"}
    none = case_of(entry)
    assert isinstance(none, Case)
    assert differences(none, play(none)) == []


def test_a_note_at_a_step_stays_when_the_case_is_written() -> None:
    noted = case_of({**GOOD, "steps": [{"session": "A", "sql": "select 1", "note": "of 2014"}]})
    assert isinstance(noted, Case)
    assert dump_case(noted)["steps"] == [{"session": "A", "sql": "select 1", "note": "of 2014"}]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("{", "cases.json:1:2: not JSON"),
        ("[1]", 'expected {"cases": [...]}'),
        ('{"cases": []}', "there are no cases"),
        ("[" * 100_000, "nested too deeply"),
        ("[" + "9" * 5_000 + "]", "a number has too many digits"),
    ],
)
def test_a_file_without_cases_is_refused_with_its_place(tmp_path: Path, document: str, told: str) -> None:
    with pytest.raises(CaseFileError) as caught:
        load_cases(write(tmp_path, document))
    assert told in str(caught.value)


def test_a_file_of_lines_has_a_case_on_each_and_tells_the_line_that_is_broken(tmp_path: Path) -> None:
    line = json.dumps(GOOD)
    assert len(load_cases(write(tmp_path, f"{line}\n\n{line}\n", "cases.jsonl"))) == 2
    with pytest.raises(CaseFileError, match=r"broken\.jsonl:2:1: not JSON"):
        load_cases(write(tmp_path, f"{line}\n?\n", "broken.jsonl"))


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    for name, told in (("none.json", "No such file"), ("binary.json", "UTF-8"), (".", "Is a directory")):
        with pytest.raises(CaseFileError, match=told):
            load_cases(tmp_path / name)


@pytest.mark.parametrize("recorded", RECORDED[::9], ids=lambda one: str(one.id))
def test_a_case_that_is_written_and_read_again_is_the_same(recorded: Case) -> None:
    assert case_of(json.loads(json.dumps(dump_case(recorded)))) == recorded
    observed = play(recorded)
    again = case_of(json.loads(json.dumps(dump_case(recorded, observed))))
    assert isinstance(again, Case)
    assert [step.expect for step in again.steps] == observed.steps


def test_numbers_are_compared_as_numbers_and_nothing_else_is() -> None:
    assert same("1.50", "1.5")
    assert same(2, "2.0")
    assert same([[1, None]], [["1", None]])
    assert not same(1, True)
    assert not same(None, 0)
    assert not same("a", "b")
    assert not same([1], [1, 2])
    assert not same("12345678901234567890123456789012", "12345678901234567890123456789013")
    assert not same("0." + "0" * 40 + "1", "0." + "0" * 40 + "10000000000000000000000000000001")
    assert same("NaN", "NaN")
    assert not same("NaN", 1)


def test_rows_in_any_order_are_paired_by_their_values_however_these_are_written() -> None:
    ten, digits = "10.00", "1234567890123456789012345678901"
    want = [["NaN"], [ten], [digits + "1"], [digits + "2"], ["2"]]
    got = [[digits + "2"], ["10"], ["2.0"], ["NaN"], [digits + "1.0"]]
    expected = case("A: select v from t")
    (answer,) = play(expected).steps
    steps = [replace(expected.steps[0], expect=replace(answer, rows=want, rowcount=5))]
    seen = Observed([replace(answer, rows=got, rowcount=5)], play(expected).final)
    assert differences(replace(expected, steps=steps), seen) == []
