"""What a design costs: how long clients wait, how far messages travel, how often something is tried again."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from heapq import merge
from itertools import chain

from arbsim.audit.balances import Versions
from arbsim.history import MISSING, History
from arbsim.model import Fate
from arbsim.results import Costs, Latency, RegionLatency

EVERYWHERE = "all"

SATURATED = "the run saturated: "
"""How the note of a saturated run begins."""

SATURATION_FACTOR = 3
SATURATION_NS = 100_000_000
SATURATION_OPERATIONS = 100
"""Operations below which the first and the last quarter are too few to be compared."""


def ms(time_ns: int) -> float:
    """Nanoseconds as milliseconds, rounded to the microsecond."""
    return round(time_ns / 1_000_000, 3)


def costs_of(history: History, versions: Versions, compensations: int) -> Costs:
    """Add up what the run cost."""
    accepted = client_retries = server_retries = 0
    for answer in history.answers():
        accepted += answer.fate is Fate.ACCEPTED
        client_retries += answer.client_retries
        server_retries += answer.server_retries
    totals = history.totals
    return Costs(
        latency=_latencies(history),
        client_retries=client_retries,
        server_retries=server_retries,
        messages_per_accepted=_per(totals.get("messages"), accepted),
        wan_round_trips_per_accepted=_per(totals.get("wan_messages"), 2 * accepted),
        compensations=compensations,
        agreement_lag_ms=_agreement_lag_ms(history, versions),
    )


def _per(total: int | None, accepted: int) -> float | None:
    """None where nothing was accepted, or where the world does not count."""
    return round(total / accepted, 2) if accepted and total is not None else None


def _latencies(history: History) -> tuple[RegionLatency, ...]:
    """Latencies by region in the order of the workload's first operation there, then of all."""
    recorded: dict[str, array[int]] = {}
    fate: dict[str, array[int]] = {}
    for op, answer in zip(history.workload, history.answers(), strict=True):
        recorded.setdefault(op.region, array("q"))
        fate.setdefault(op.region, array("q"))
        if answer.recorded_ns != MISSING:
            recorded[op.region].append(answer.recorded_ns - answer.invoked_ns)
        if answer.answered_ns != MISSING and answer.fate is not Fate.UNKNOWN:
            fate[op.region].append(answer.answered_ns - answer.invoked_ns)
    rows = [
        RegionLatency(region=region, recorded=percentiles(recorded[region]), fate=percentiles(fate[region]))
        for region in sorted(recorded)
    ]
    everything = RegionLatency(
        region=EVERYWHERE,
        recorded=percentiles(array("q", chain.from_iterable(recorded.values()))),
        fate=percentiles(array("q", chain.from_iterable(fate.values()))),
    )
    return (*rows, everything)


def saturation_note(history: History) -> str | None:
    """Say so where the last quarter of the operations waited far longer for their fates than the first.

    Far longer is at least SATURATION_FACTOR times as long and SATURATION_NS more, by the median: work piles up faster
    than it is done, so that latencies depend on how long the run was.
    """
    waited = array(
        "q",
        (
            answer.answered_ns - answer.invoked_ns
            for answer in history.answers()
            if answer.answered_ns != MISSING and answer.fate is not Fate.UNKNOWN
        ),
    )
    if len(waited) < SATURATION_OPERATIONS:
        return None
    quarter = len(waited) // 4
    first, last = (_nth(part, (quarter - 1) // 2) for part in (waited[:quarter], waited[-quarter:]))
    if last < SATURATION_FACTOR * first or last < first + SATURATION_NS:
        return None
    return f"{SATURATED}half of the first quarter of operations waited up to {ms(first)} ms, of the last {ms(last)} ms"


def percentiles(latencies_ns: Sequence[int]) -> Latency:
    """Percentiles by nearest rank: the smallest value that at least p percent do not exceed."""
    if not latencies_ns:
        return Latency(count=0)
    count = len(latencies_ns)
    p50, p90, p99 = (ms(_nth(latencies_ns, -(-percent * count // 100) - 1)) for percent in (50, 90, 99))
    return Latency(count=count, p50_ms=p50, p90_ms=p90, p99_ms=p99, max_ms=ms(max(latencies_ns)))


def _nth(values: Sequence[int], place: int) -> int:
    """What would stand at a place if the values were sorted.

    Sorting makes an object of each. So they are counted by their highest bits first, and only those that share them
    with the one that is wanted are sorted.
    """
    shift = max(0, max(values).bit_length() - 12)
    counts = Counter(value >> shift for value in values)
    for bits in sorted(counts):
        if place < counts[bits]:
            return sorted(value for value in values if value >> shift == bits)[place]
        place -= counts[bits]
    raise IndexError(place)


def _agreement_lag_ms(history: History, versions: Versions) -> float | None:
    """The longest time from an operation's first effect on an account to its arrival in the last store.

    None where a run was cut off: not everything had arrived.
    """
    if history.cut_off or len(history.stores) < 2 or not versions.operation:
        return None
    longest = 0
    for account in dict.fromkeys(account for _, account in versions.rows):
        first: dict[int, int] = {}
        for row in merge(*(versions.rows.get((store, account), ()) for store in history.stores)):
            begun_ns = first.setdefault(versions.operation[row], versions.time_ns[row])
            longest = max(longest, versions.time_ns[row] - begun_ns)
    return ms(longest)
