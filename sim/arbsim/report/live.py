"""What a report on real servers says beside, and instead of, one in virtual time."""

from __future__ import annotations

from collections.abc import Iterator

from arbsim.report import words
from arbsim.report.explanations import CAVEATS, LIMITS
from arbsim.results import DesignResult, LiveResults, Results, Simulated, StreamFacts

_MOST_ACCOUNTS = 3

_RUN_BESIDE = (
    "What is simulated beside it is the same scenario on the model of the server that was really there, with the"
    " scenario's delays. It was never fitted to this run."
)

STREAM_NOTE = (
    "Debezium's events as a consumer in each region saw them: folded by key, what came again dropped by its LSN, and"
    " compared with the table; each change that the database noted is looked for. Lag is from commit to consumer, the"
    " time for which a killed connector was away included. A connector that is killed (kill -9) before it has ever"
    " stored its position takes a new snapshot when it is back: the changes in between never come, though the table is"
    " told rightly in the end."
)

_STARTED_HERE = (
    "Regions on one machine",
    (
        "All servers run on one machine; a relay holds every message between regions back for half a round trip."
        " Distances are real to the clients; disks, CPUs and clocks are shared."
    ),
)
_OWN = (
    "Servers that were there before",
    (
        "Clients and services run here. What goes to the database and back is held by a relay for half of the"
        " scenario's round trip each way, on top of the network's own time. Kafka's clients connect to the addresses"
        " that brokers advertise, over no relay: delays there are the servers' own, and the model beside has the"
        " scenario's."
    ),
)
_LIVE_LIMITS: tuple[tuple[str, str], ...] = (
    (
        "What a live history cannot see",
        (
            "Which version a SELECT returned is worked out from its value and its time. What an UPDATE looked at that"
            " changed no row, who waited for whose lock, and what a server tried again by itself is not seen;"
            " contention is counted by operations that overlapped."
        ),
    ),
    (
        "The trigger",
        (
            "A trigger on the accounts' table notes every change in a table beside, in the same transaction. It costs"
            " each change one more row."
        ),
    ),
    (
        "Not the same twice",
        "A live run depends on the machine and on chance. The replay line runs it again; it may end otherwise.",
    ),
)


def is_live(results: Results) -> bool:
    """Whether the results are of real servers."""
    return isinstance(results, LiveResults)


def world(results: Results) -> str:
    """Where it ran, in a few words."""
    if not isinstance(results, LiveResults):
        return "simulated in virtual time"
    return f"live on {_products(results)}"


def sentence(results: Results) -> str:
    """Where it ran, for the head of a report."""
    if not isinstance(results, LiveResults):
        return "Simulated in virtual time; nothing here ran on a real server."
    standing = "".join(
        f" {one.product} stands for {one.stands_for}." for one in results.live.servers if one.stands_for
    )
    return f"It ran on real servers: {_products(results)}.{standing}"


def _products(results: LiveResults) -> str:
    products = dict.fromkeys(f"{one.product} {one.version}" for one in results.live.servers)
    return ", ".join(products)


def other_costs(results: Results) -> str:
    """What the second table of costs tells."""
    carried = "What else it costs. One hot key: what one account carries"
    if isinstance(results, LiveResults):
        return f"{carried}, which is measured on the model alone"
    return f"{carried}; a dash where twice as many at once take no longer"


def caveats(results: Results) -> tuple[str, ...]:
    """The main ones, for the first page."""
    if not isinstance(results, LiveResults):
        return CAVEATS
    once = "Each verdict is of one run, on one workload. That shows what can happen, and never that something cannot."
    if results.live.agreement is not None:
        once += " How often it happens is told by repeating one race."
    return (sentence(results), once, *CAVEATS[2:])


def limits(results: Results) -> tuple[tuple[str, str], ...]:
    """What the evidence stands on, and what it does not show."""
    if not isinstance(results, LiveResults):
        return LIMITS
    return (_OWN if results.live.own else _STARTED_HERE, *_LIVE_LIMITS, LIMITS[0])


def reproduces(results: Results) -> str:
    """What the replay line promises."""
    if isinstance(results, LiveResults):
        return f"Run on {results.live.began}. The replay line runs it again; on real servers it may end otherwise."
    return "The same version, scenario and seed give the same bytes."


def server_rows(results: LiveResults) -> list[list[str]]:
    """Each server: name, product with version, what it stands for, settings."""
    return [
        [
            one.name,
            f"{one.product} {one.version}",
            one.stands_for or "",
            "; ".join(f"{name}: {value}" for name, value in one.settings.items()),
        ]
        for one in results.live.servers
    ]


def link_rows(results: LiveResults) -> list[list[str]]:
    """Each link: region, server, round trip in the scenario, round trip as measured."""
    return [
        [one.region, one.server, words.number(one.round_trip_ms), words.number(one.measured_ms)]
        for one in results.live.links
    ]


STREAM_HEAD = (
    "run",
    "region",
    "delivery",
    "changes",
    "came again",
    "missing",
    "lag p50 ms",
    "lag p99 ms",
    "events tell the table",
)


def stream_rows(results: LiveResults) -> list[list[str]]:
    """Each change stream on each side of MirrorMaker, by the columns of STREAM_HEAD."""
    return [
        [
            name,
            one.region,
            one.delivery + (", killed" if one.killed else ""),
            str(one.changes),
            str(one.again),
            str(one.missing),
            words.number(one.lag_p50_ms),
            words.number(one.lag_p99_ms),
            _fold(one),
        ]
        for name, sides in results.live.streams.items()
        for one in sides
    ]


def _fold(one: StreamFacts) -> str:
    told = [
        f"account {account}: {folded or 'nothing'} for {table or 'nothing'}"
        for account, (table, folded) in one.differences.items()
    ]
    return "no: " + "; ".join(told[:_MOST_ACCOUNTS]) if told else "yes, row by row"


def side_by_side(results: LiveResults) -> Iterator[list[str]]:
    """Each design: whether both say the same; live and simulated verdict with findings, final balances, p99."""
    for name, result in results.designs.items():
        beside = results.live.simulated.get(name)
        if beside is None:
            continue
        found = {kind.value: finding.count for kind, finding in result.findings.items() if finding.count}
        modelled = {kind.value: count for kind, count in beside.findings.items()}
        everywhere = result.costs.latency[-1]
        yield [
            name,
            "yes" if same(result, beside) else "no",
            f"{words.VERDICTS[result.verdict]}{_told(found)}",
            f"{words.VERDICTS[beside.verdict]}{_told(modelled)}",
            words.finals(result, _MOST_ACCOUNTS),
            words.finals_of(beside.final, _MOST_ACCOUNTS),
            words.number(everywhere.fate.p99_ms),
            words.number(beside.p99_ms),
        ]


def same(result: DesignResult, beside: Simulated) -> bool:
    """Whether the model and the server came to the same verdict with findings of the same kinds."""
    found = {kind for kind, finding in result.findings.items() if finding.count}
    return result.verdict is beside.verdict and found == set(beside.findings)


def _told(found: dict[str, int]) -> str:
    return f" ({', '.join(f'{kind} {count}' for kind, count in found.items())})" if found else ""


def beside(results: LiveResults) -> str:
    """What stands beside the live figures."""
    return _RUN_BESIDE if results.live.simulated else ""
