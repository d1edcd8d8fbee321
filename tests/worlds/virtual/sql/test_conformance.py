"""The engine answers recorded cases as PostgreSQL did, step by step and key by key."""

import json
from pathlib import Path
from typing import Any

import pytest

from arbsim.worlds.virtual.sql import Engine
from arbsim.worlds.virtual.sql.cases import Observed, differences, run_case

CASES = Path(__file__).parents[3] / "conformance"


def load(name: str) -> list[dict[str, Any]]:
    return list(json.loads((CASES / name).read_text(encoding="utf-8"))["cases"])


@pytest.mark.parametrize("case", load("hermitage_postgres.json"), ids=lambda case: str(case["id"]))
def test_hermitage_case_runs_as_recorded(case: dict[str, Any]) -> None:
    assert differences(case, run_case(case)) == []


@pytest.mark.parametrize("case", load("accounts.json"), ids=lambda case: str(case["id"]))
def test_account_case_runs_as_recorded(case: dict[str, Any]) -> None:
    assert differences(case, run_case(case)) == []


def test_a_wrong_expectation_is_reported_with_its_step_and_key() -> None:
    case = load("accounts.json")[0]
    case["steps"][2]["expect"]["rowcount"] = 7
    case["final"]["rows"] = [[1, 99, 0]]
    found = differences(case, run_case(case))
    assert len(found) == 2
    assert "step 2" in found[0]
    assert "rowcount: expected 7, got 1" in found[0]
    assert found[1].startswith("final rows")


def test_a_step_for_a_waiting_session_is_not_issued_and_a_wait_without_end_is_unfinished() -> None:
    case = {
        "id": "stuck",
        "setup": {"sql": ["create table t (id int primary key, v int)", "insert into t values (1, 1)"]},
        "sessions": ["A", "B"],
        "steps": [
            {"session": "A", "sql": "begin; update t set v = 2", "expect": {}},
            {"session": "B", "sql": "update t set v = 3", "expect": {}},
            {"session": "B", "sql": "select 1", "expect": {}},
        ],
        "final": {"sql": "select v from t"},
    }
    observed = run_case(case, lambda: Engine("yugabyte"))
    assert observed == Observed(
        [
            {"blocks": False, "tag": "UPDATE 1", "rowcount": 1},
            {"blocks": True, "unfinished": True},
            {"skipped": True},
        ],
        [[1]],
    )


def test_a_case_that_names_an_unknown_session_or_cannot_be_set_up_is_refused() -> None:
    step = {"session": "Z", "sql": "select 1", "expect": {}}
    with pytest.raises(ValueError, match="unknown session 'Z'"):
        run_case({"id": "x", "setup": [], "sessions": ["A"], "steps": [step]})
    with pytest.raises(ValueError, match="set-up of case x fails"):
        run_case({"id": "x", "setup": ["insert into nothing values (1)"], "sessions": [], "steps": []})
