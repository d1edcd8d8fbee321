"""Rows behave as asyncpg's."""

import asyncpg
import pytest

from arbsim.worlds.virtual.records import Record

ROW = Record({"id": 0, "balance": 1}, (7, "30.00"))


def test_a_row_is_read_by_name_and_by_position() -> None:
    assert ROW["balance"] == "30.00"
    assert ROW[0] == 7
    assert ROW[-1] == "30.00"
    assert tuple(ROW[0:2]) == (7, "30.00")


def test_a_row_is_iterated_by_value_and_searched_by_name() -> None:
    assert list(ROW) == [7, "30.00"]
    assert "balance" in ROW
    assert "30.00" not in ROW
    assert len(ROW) == 2


def test_a_row_is_a_mapping() -> None:
    assert dict(ROW.items()) == {"id": 7, "balance": "30.00"}
    assert list(ROW.keys()) == ["id", "balance"]
    assert list(ROW.values()) == [7, "30.00"]
    assert ROW.get("nothing") is None
    assert ROW.get("nothing", 3) == 3


def test_a_missing_column_is_a_key_error_and_a_missing_place_an_index_error() -> None:
    with pytest.raises(KeyError):
        ROW["nothing"]
    with pytest.raises(IndexError):
        ROW[2]


def test_a_row_equals_the_tuple_of_its_values() -> None:
    assert ROW == (7, "30.00")
    assert Record({"a": 0}, (1,)) == Record({"b": 0}, (1,))
    assert repr(ROW) == "<Record id=7 balance='30.00'>"


def test_the_real_record_has_every_method_of_ours() -> None:
    ours = {name for name in dir(Record) if not name.startswith("_")}
    assert ours <= set(dir(asyncpg.Record))
