"""The boundary speaks asyncpg's and aiokafka's language: the real classes are the measure."""

import inspect
from typing import Any

import aiokafka
import asyncpg.connection
import asyncpg.pool
import pytest

from arbsim.worlds import api

PAIRS: list[tuple[type, type]] = [
    (api.Connection, asyncpg.connection.Connection),
    (api.Pool, asyncpg.pool.Pool),
    (api.Producer, aiokafka.AIOKafkaProducer),
    (api.Consumer, aiokafka.AIOKafkaConsumer),
]

METHODS = [
    pytest.param(ours, real, name, id=f"{real.__name__}.{name}")
    for ours, real in PAIRS
    for name, member in vars(ours).items()
    if inspect.isfunction(member) and (not name.startswith("_") or name == "__aiter__")
]


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    """Name, kind and default of each parameter but self; annotations differ and do not matter."""
    found = list(inspect.signature(function).parameters.values())[1:]
    return [(p.name, p.kind, p.default) for p in found]


@pytest.mark.parametrize(("ours", "real", "name"), METHODS)
def test_a_method_can_be_called_as_in_the_real_class(ours: type, real: type, name: str) -> None:
    mine, theirs = parameters(getattr(ours, name)), parameters(getattr(real, name))
    missing = [p for p in mine if p[0] not in {t[0] for t in theirs}]
    assert missing == [], "the real class has no such parameter"
    order = [t[0] for t in theirs]
    assert [p[0] for p in mine] == [n for n in order if n in {p[0] for p in mine}]
    kinds = {t[0]: t for t in theirs}
    for name_, kind, default in mine:
        assert kinds[name_][1] == kind, f"{name_} is passed in another way"
        assert (kinds[name_][2] is inspect.Parameter.empty) == (default is inspect.Parameter.empty)


@pytest.mark.parametrize(("ours", "real", "name"), METHODS)
def test_a_method_is_awaited_where_the_real_one_is(ours: type, real: type, name: str) -> None:
    mine, theirs = getattr(ours, name), getattr(real, name)
    assert inspect.iscoroutinefunction(mine) == inspect.iscoroutinefunction(theirs)


def test_settings_of_producers_and_consumers_are_those_of_aiokafka() -> None:
    for method, real in (
        (api.Kafka.producer, aiokafka.AIOKafkaProducer),
        (api.Kafka.consumer, aiokafka.AIOKafkaConsumer),
    ):
        known = inspect.signature(real.__init__).parameters
        ours = [
            name
            for name, parameter in inspect.signature(method).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        ]
        assert [name for name in ours if name not in known and name not in ("listener", "cluster")] == []
