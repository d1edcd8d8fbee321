"""What a design costs: how long clients wait, how far messages travel, how often something is tried again."""

from __future__ import annotations

from collections.abc import Sequence

from arbsim.history import MISSING, Answer, History
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


def costs_of(history: History, compensations: int) -> Costs:
    """Add up what the run cost."""
    answers = list(history.answers())
    accepted = sum(answer.fate is Fate.ACCEPTED for answer in answers)
    totals = history.totals
    return Costs(
        latency=_latencies(history, answers),
        client_retries=sum(answer.client_retries for answer in answers),
        server_retries=sum(answer.server_retries for answer in answers),
        messages_per_accepted=_per(totals.get("messages"), accepted),
        wan_round_trips_per_accepted=_per(totals.get("wan_messages"), 2 * accepted),
        compensations=compensations,
        agreement_lag_ms=_agreement_lag_ms(history),
    )


def _per(total: int | None, accepted: int) -> float | None:
    """None where nothing was accepted, or where the world does not count."""
    return round(total / accepted, 2) if accepted and total is not None else None


def _latencies(history: History, answers: Sequence[Answer]) -> tuple[RegionLatency, ...]:
    """Latencies by region in the order of the workload's first operation there, then of all."""
    recorded: dict[str, list[int]] = {}
    fate: dict[str, list[int]] = {}
    for op, answer in zip(history.workload, answers, strict=True):
        recorded.setdefault(op.region, [])
        fate.setdefault(op.region, [])
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
        recorded=percentiles([one for several in recorded.values() for one in several]),
        fate=percentiles([one for several in fate.values() for one in several]),
    )
    return (*rows, everything)


def saturation_note(history: History) -> str | None:
    """Say so where the last quarter of the operations waited far longer for their fates than the first.

    Far longer is at least SATURATION_FACTOR times as long and SATURATION_NS more, by the median: work piles up faster
    than it is done, so that latencies depend on how long the run was.
    """
    waited = [
        answer.answered_ns - answer.invoked_ns
        for answer in history.answers()
        if answer.answered_ns != MISSING and answer.fate is not Fate.UNKNOWN
    ]
    if len(waited) < SATURATION_OPERATIONS:
        return None
    quarter = len(waited) // 4
    first, last = (sorted(part)[(quarter - 1) // 2] for part in (waited[:quarter], waited[-quarter:]))
    if last < SATURATION_FACTOR * first or last < first + SATURATION_NS:
        return None
    return f"{SATURATED}half of the first quarter of operations waited up to {ms(first)} ms, of the last {ms(last)} ms"


def percentiles(latencies_ns: Sequence[int]) -> Latency:
    """Percentiles by nearest rank: the smallest value that at least p percent do not exceed."""
    if not latencies_ns:
        return Latency(count=0)
    ordered = sorted(latencies_ns)
    count = len(ordered)

    def rank(percent: int) -> float:
        return ms(ordered[-(-percent * count // 100) - 1])

    return Latency(count=count, p50_ms=rank(50), p90_ms=rank(90), p99_ms=rank(99), max_ms=ms(ordered[-1]))


def _agreement_lag_ms(history: History) -> float | None:
    """The longest time from an operation's first effect on an account to its arrival in the last store."""
    operation, account, _, _, _, _, time_ns = history.effect_columns()
    if len(history.stores) < 2:
        return None
    first: dict[tuple[int, int], int] = {}
    longest = 0
    for op, number, at_ns in zip(operation, account, time_ns, strict=True):
        begun = first.setdefault((op, number), at_ns)
        longest = max(longest, at_ns - begun)
    return ms(longest) if first else None
