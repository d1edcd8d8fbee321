"""The self-test: every planted bug is caught, only that one, and a check that fails is told."""

from __future__ import annotations

import pytest

import arbsim.selftest.run as selftest
from arbsim.audit import audit
from arbsim.designs import catalogue
from arbsim.model import VIOLATIONS, FindingKind, Verdict
from arbsim.selftest import run_selftest
from arbsim.selftest.histories import GOOD, Planted, planted
from arbsim.selftest.mutants import mutants

BUGS = list(planted())


def test_a_good_history_is_clean() -> None:
    result = audit(GOOD.history())
    assert result.verdict is Verdict.NONE_SEEN
    assert not any(finding.count for finding in result.findings.values())
    assert result.contention.overlapping_pairs == 1


def test_every_kind_of_finding_is_planted() -> None:
    assert [bug.kind for bug in BUGS] == list(FindingKind)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.kind.value)
def test_a_planted_bug_is_found_and_only_that_one(bug: Planted) -> None:
    result = audit(bug.story().history())
    found = {kind: finding.count for kind, finding in result.findings.items() if finding.count}
    assert found == dict.fromkeys((bug.kind, *bug.also), 1)
    assert result.verdict is Verdict.VIOLATED
    assert result.as_declared == "no"


def test_everything_passes() -> None:
    assert [case.name for case in run_selftest() if not case.passed] == []


def test_every_safe_design_is_tried_and_has_mutants_beside_it() -> None:
    names = [case.name for case in run_selftest()]
    safe = {name for name, design in catalogue().items() if set(VIOLATIONS) <= set(design.claims)}
    assert safe <= set(names)
    assert {mutant.design.name for mutant in mutants()} <= set(names)


def test_an_audit_that_sees_nothing_fails_the_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "_found", lambda history: ())
    failed = [case for case in run_selftest() if not case.passed]
    assert len(failed) == len(BUGS) + len(list(mutants()))


def test_an_audit_that_blames_everybody_fails_the_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "_found", lambda history: tuple(FindingKind))
    failed = {case.name for case in run_selftest() if not case.passed}
    assert "history/good" in failed
    assert "db/atomic-update" in failed
