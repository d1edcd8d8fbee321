"""Scenarios that are written are read as what they were."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from arbsim.scenario.nodes import compose, plain
from arbsim.scenario.source import Source
from arbsim.scenario.writing import as_yaml

TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=20)
WORDS = st.sampled_from(
    ["null", "~", "true", "1.00", "5 %", "us-east-1", "-", "a: b", "# no", "40/s", "x\ny"]
)
KEYS = st.one_of(
    st.from_regex(r"[a-z][a-z0-9_/ -]{0,8}[a-z]", fullmatch=True), st.sampled_from(["1", "23514"])
)
DATA = st.recursive(
    st.one_of(TEXTS, WORDS),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4), st.dictionaries(KEYS, inner, min_size=1)
    ),
    max_leaves=12,
)


@settings(max_examples=40)
@given(st.dictionaries(KEYS, DATA, min_size=1, max_size=5))
def test_what_is_written_is_read_again(data: dict[str, Any]) -> None:
    root, mistakes = compose(Source("a test", as_yaml(data)))
    assert mistakes == []
    assert plain(root) == data


def test_what_fits_on_a_line_stands_on_one() -> None:
    assert as_yaml(
        {"regions": {"east": {"location": "us-east-1"}}, "designs": ["db/x"], "a": {"1": "1.00"}}
    ) == ("regions:\n  east: {location: us-east-1}\ndesigns: [db/x]\na: {1: 1.00}\n")
