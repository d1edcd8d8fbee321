"""Cases on a real PostgreSQL: the recorded ones, and servers that refuse, hang or go away."""

import asyncio
import json

import asyncpg
import pytest

from arbsim.conform.cases import Answer, Case, Final
from arbsim.conform.differences import differences
from arbsim.conform.model import NotPlayable, play
from arbsim.conform.quiet import TELL_WAITS, LockJudge, ToldWaits, WaitJudge, has_ring
from arbsim.conform.server import Server, ServerUnreachable
from tests.conform.support import ask, case, load, on_server, schemas_left


def test_a_real_server_answers_every_recorded_case_as_recorded(dsn: str) -> None:
    cases = [*load("hermitage_postgres.json"), *load("accounts.json")]
    for recorded, observed in zip(cases, on_server(dsn, *cases), strict=True):
        assert differences(recorded, observed) == [], recorded.id
    assert schemas_left(dsn) == 0


def test_a_real_server_gives_the_answers_found_by_fuzzing_always_or_now_and_then_where_it_varies(
    dsn: str,
) -> None:
    async def run() -> None:
        async with Server(dsn) as server:
            for recorded in load("found.json"):
                tries = 40 if play(recorded).raced else 1
                for _ in range(tries):
                    found = differences(recorded, await server.play(recorded))
                    if not found:
                        break
                assert found == [], recorded.id

    asyncio.run(run())


WAITING = case(
    "A: begin; update t set v = 2 where id = 1",
    "B: update t set v = v + 1 where id = 1",
    "B: select 1",
    "C: select v from t where id = 1 for update nowait",
    "A: insert into t values (1, 1)",
    "A: rollback",
    "D: begin; delete from t",
    "E: update t set v = 0 where id = 2",
)


def test_a_wait_is_settled_when_the_server_tells_that_its_deadlock_check_is_over(dsn: str) -> None:
    async def told() -> list[bool | None]:
        holder, *waiters = [await asyncpg.connect(dsn) for _ in range(3)]
        listener, asked = ToldWaits(), []
        await holder.execute("create table held_for_test (v int primary key, w int)")
        try:
            await holder.execute("insert into held_for_test values (1, 0)")
            await holder.execute("begin; update held_for_test set w = 1")
            tasks, pids = {}, {}
            for name, one in zip("AB", waiters, strict=True):
                listener.listen(one)
                await one.execute(f"set deadlock_timeout = '20ms'; {TELL_WAITS}")
                tasks[name] = asyncio.ensure_future(one.execute("update held_for_test set w = 2"))
                pids[name] = one.get_server_pid()
                judge = LockJudge(holder, pids, 0.02, listener)
                assert await judge.quiet(tasks) == set(pids)
                rows = await holder.fetch("select to_jsonb(l)::text from pg_locks l where not granted")
                asked = [listener.tells(json.loads(row[0])) for row in rows]
            await holder.execute("rollback")
            await asyncio.gather(*tasks.values())
        finally:
            await holder.execute("drop table held_for_test")
            for one in (holder, *waiters):
                await one.close()
        return asked

    assert asyncio.run(told()) == [True, True]


def test_model_and_server_agree_on_waiting_skipping_failing_and_never_finishing(dsn: str) -> None:
    (observed,) = on_server(dsn, WAITING)
    assert observed.steps == play(WAITING).steps
    assert observed.final == play(WAITING).final
    assert observed.steps[2] == Answer(skipped=True)
    assert observed.steps[7] == Answer(blocks=True, unfinished=True)


def test_a_server_that_does_not_tell_its_locks_is_judged_by_a_wait(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "judge", lambda self, pids: WaitJudge(0.2))
    (observed,) = on_server(dsn, WAITING)
    assert observed.steps == play(WAITING).steps


def test_each_case_begins_with_clean_sessions(dsn: str) -> None:
    first = case(
        "A: begin isolation level serializable; set enable_seqscan = off", "A: select v from nothing"
    )
    second = case("A: show transaction_isolation", "A: show enable_seqscan")
    assert [answer.rows for answer in on_server(dsn, first, second)[1].steps] == [
        [["read committed"]],
        [["on"]],
    ]


def test_a_set_up_that_fails_is_told_and_the_next_case_runs(dsn: str) -> None:
    async def run() -> None:
        async with Server(dsn) as server:
            with pytest.raises(NotPlayable, match="set-up fails at 'create nonsense'"):
                await server.play(case("A: select 1", setup=["create nonsense"]))
            with pytest.raises(NotPlayable, match="settings fail"):
                await server.play(case("A: select 1", session_settings=("set no_such_thing = 1",)))
            assert (await server.play(case("A: select 1"))).steps[0].rows == [[1]]

    asyncio.run(run())
    assert schemas_left(dsn) == 0


def lost(dsn: str, broken: Case, told: str, step_limit_s: float = 30) -> None:
    async def run() -> None:
        async with Server(dsn, step_limit_s=step_limit_s) as server:
            with pytest.raises(ServerUnreachable, match=told) as caught:
                await server.play(broken)
            assert server.dsn not in str(caught.value)
            assert (await server.play(case("A: select 1"))).steps[0].rows == [[1]]

    asyncio.run(run())
    assert schemas_left(dsn) == 0


def test_a_step_that_hangs_is_given_up_at_the_limit_and_the_next_case_runs(dsn: str) -> None:
    hangs = case("A: begin; update t set v = 0", "A: select pg_sleep(300)")
    lost(dsn, hangs, r"step 1 \(A: select pg_sleep", step_limit_s=0.5)
    assert ask(dsn, "select count(*) from pg_stat_activity where query like '%pg_sleep(300)'") == 0


@pytest.mark.parametrize(
    ("hangs", "told"),
    [
        (case("A: select 1", setup=["select pg_sleep(301)"]), r"the case was not set up in 0\.5 s"),
        (
            case("A: select 1", final=Final("select pg_sleep(302)")),
            r"nor the final query answered, in 0\.5 s",
        ),
    ],
    ids=["set-up", "final query"],
)
def test_a_set_up_or_a_final_query_that_hangs_is_given_up_at_the_limit(
    dsn: str, hangs: Case, told: str
) -> None:
    lost(dsn, hangs, told, step_limit_s=0.5)
    assert ask(dsn, "select count(*) from pg_stat_activity where query ~ '^select pg_sleep.30[12]'") == 0


def test_a_server_that_does_not_say_what_it_is_is_given_up_at_the_limit_too(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(_: Server) -> int:
        await asyncio.sleep(300)
        return 0

    monkeypatch.setattr(Server, "_deadlock_timeout_ms", hangs)
    with pytest.raises(ServerUnreachable, match=r"did not say what it is in 0\.2 s"):
        on_server(dsn, step_limit_s=0.2)


def test_a_server_that_refuses_the_first_question_is_told_in_its_own_words(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(server: Server) -> int:
        return int(await server._admin.fetchval("select nothing"))

    monkeypatch.setattr(Server, "_deadlock_timeout_ms", fails)
    with pytest.raises(ServerUnreachable, match='column "nothing" does not exist'):
        on_server(dsn)


def test_a_connection_that_is_cut_in_the_middle_is_told_and_the_next_case_runs(dsn: str) -> None:
    lost(dsn, case("A: select pg_terminate_backend(pg_backend_pid())"), "terminating connection")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("postgresql://postgres:s3cret@127.0.0.1:1/x", "127.0.0.1:1/x cannot be reached"),
        ("postgresql://postgres:s3cret@[nonsense/x", "the address of the server is not valid"),
        ("mysql://postgres:s3cret@127.0.0.1/x", "the address of the server is not valid"),
    ],
)
def test_a_server_that_is_not_there_is_named_without_the_password(address: str, told: str) -> None:
    with pytest.raises(ServerUnreachable, match=told) as caught:
        on_server(address)
    assert "s3cret" not in str(caught.value)


def test_a_server_that_refuses_is_told_in_its_own_words(dsn: str) -> None:
    with pytest.raises(ServerUnreachable, match="password authentication failed"):
        on_server(dsn.replace("@", "wrong@", 1))


def test_other_objects_on_the_server_are_left_alone(dsn: str) -> None:
    ask(dsn, "create table if not exists public.t as select 42 as v")
    on_server(dsn, case("A: drop table if exists t", "A: create table t (id int)", final=None))
    assert ask(dsn, "select v from public.t") == 42


def test_what_a_killed_run_has_left_is_dropped_by_the_next_and_what_is_in_use_or_not_ours_is_not(
    dsn: str,
) -> None:
    ask(dsn, "create schema arbsim_conform_0123456789ab")  # as after kill -9: nobody holds its lock
    ask(dsn, "create table arbsim_conform_0123456789ab.t (id int)")
    ask(dsn, "create schema if not exists arbsim_conform_of_somebody")
    schemas = "select count(*) from pg_namespace where nspname like 'arbsim_conform%'"

    async def run() -> None:
        async with Server(dsn) as first:
            assert (await first.play(case(f"A: {schemas}"))).steps[0].rows == [[2]]
            async with Server(dsn) as second:
                assert (await second.play(case(f"A: {schemas}"))).steps[0].rows == [[3]]

    asyncio.run(run())
    ask(dsn, "drop schema arbsim_conform_of_somebody")
    assert schemas_left(dsn) == 0


def test_a_ring_of_waits_is_found_behind_others() -> None:
    assert has_ring({"A": ["B"], "B": ["A"], "C": ["A"]})
    assert not has_ring({"A": ["B"], "C": ["A", "B"]})
