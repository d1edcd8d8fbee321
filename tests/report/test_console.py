"""The terminal: 80 columns, a glyph and a word, nothing that a terminal would act on."""

from __future__ import annotations

import pytest

from arbsim.report import console
from arbsim.report.words import gathered, headline
from tests.report.results import HOSTILE, hostile, shipped

NAMES = ("two_regions", "one_region", "lost_update_trap", "serializable_retry", "cdc_distribution")


@pytest.mark.parametrize("name", NAMES)
def test_it_fits_in_80_columns(name: str) -> None:
    assert max(map(len, console.render(shipped(name)).splitlines())) <= 80


def test_every_design_has_a_glyph_and_a_word() -> None:
    text = console.render(shipped("two_regions"))
    assert " bus/regional-deltas          x violated: 1 run " in text
    assert " db/atomic-update             + holds: all 4 orders " in text
    assert " bus/log-fold                 + holds: all 4.2e10 orders " in text
    assert " + none seen: 1 run " in console.render(shipped("serializable_retry"))


def test_the_first_words_answer_the_question() -> None:
    assert headline(shipped("two_regions")) == (
        "5 of 13 designs break, all as declared. 8 of 13 hold in every order of these operations."
    )
    assert headline(shipped("one_region")) == "Nothing was tested: every design is inconclusive."
    assert headline(shipped("serializable_retry")) == "None of 4 designs was seen to break."


def test_a_wrong_balance_names_the_operations_that_caused_it() -> None:
    text = " ".join(console.render(shipped("two_regions")).split())
    assert (
        "~ account 1 db/active-active database@east 30.00, expected -30.00 (60.00: op 1 (west withdraws 60.00) was"
        " accepted, then overwritten by op 2), and 1 more"
    ) in text
    assert "Unexplained money: 0.00" in text


def test_warnings_that_say_the_same_stand_together() -> None:
    (one,) = gathered(shipped("one_region").warnings)
    assert (one.id, len(one.designs)) == ("W307", 4)


def test_hostile_text_stays_text() -> None:
    text = console.render(hostile())
    assert all(char == "\n" or char.isprintable() for char in text)
    assert "\\x1b[31m" in text
    assert "[red]x[/red] {{7*7}}" in " ".join(text.split())
    assert HOSTILE[:20] in text
