"""What a live report says of how often the servers and the model break the same race."""

from __future__ import annotations

from collections.abc import Iterator

from arbsim.agreement import Agreement, Agreements, Rate
from arbsim.report import words

VERDICTS = {"agree": "they agree", "disagree": "they disagree", "inconclusive": "inconclusive"}
MARKS = {"agree": " =", "disagree": " !", "inconclusive": " ?"}

HEAD = (
    "design",
    "verdict",
    "live",
    "simulated",
    "difference",
    "live alone",
    "simulated alone",
    "repetitions",
    "gap ms",
    "one every ms",
)

LINK_HEAD = ("region", "server", "round trip ms", "measured ms")

FLOW_HEAD = ("from", "to", "probes", "mean ms", "p50 ms", "p90 ms", "p99 ms", "on the model ms")


def what(found: Agreements) -> str:
    """What was repeated, and what the words mean."""
    first, second = (words.described(op) for op in found.operations)
    return (
        f"{first[:1].upper()}{first[1:]}, then {second}, repeated on servers that are warm, each time on an account of"
        " its own. The gap between the two is drawn uniformly, the same for servers and model, from a range in which"
        " the model breaks about half of the time; where it never does, from two of the longest round trips either way."
        " A repetition counts where the audit finds a violation on its account. Rates have Wilson's 95 % interval,"
        " the difference (live less simulated) Newcombe's for pairs. They agree where that interval lies within"
        f" {found.margin:g} either way, they disagree where it lies beyond, and else more repetitions are needed."
    )


def calibrated(found: Agreements) -> str:
    """Where the model has its delays from."""
    told = ", ".join(
        f"{name} {words.number(value)} ms" for name, value in found.calibration.parameters_ms.items()
    )
    return (
        "The model's delays were measured before, never fitted to a rate: a link's round trip is what a question takes"
        " longer over the link than past it, by the quickest answers"
        + (
            "; probes took so much longer on the servers than on the model with these links, on average, that it was"
            f" told {told}."
            if told
            else "."
        )
    )


def rows(found: Agreements) -> list[list[str]]:
    """Each design, by the columns of HEAD."""
    return [
        [
            name,
            VERDICTS[one.verdict],
            _rate(one.live),
            _rate(one.simulated),
            _difference(one),
            str(one.only_live),
            str(one.only_simulated),
            str(one.repetitions) + (f" ({one.unanswered} unanswered)" if one.unanswered else ""),
            f"{words.number(one.gap_from_ms)} to {words.number(one.gap_to_ms)}",
            words.number(one.every_ms),
        ]
        for name, one in found.designs.items()
    ]


def link_rows(found: Agreements) -> list[list[str]]:
    """Each link, by the columns of LINK_HEAD."""
    return [
        [one.region, one.server, words.number(one.round_trip_ms), words.number(one.measured_ms)]
        for one in found.calibration.links
    ]


def flow_rows(found: Agreements) -> list[list[str]]:
    """Each way of the probes, by the columns of FLOW_HEAD."""
    return [
        [
            one.source,
            one.target,
            str(one.probes),
            *map(words.number, (one.mean_ms, one.p50_ms, one.p90_ms, one.p99_ms, one.modelled_ms)),
        ]
        for one in found.calibration.flows
    ]


def lines(found: Agreements) -> Iterator[tuple[str, str]]:
    """A mark and a line for each design."""
    for name, one in found.designs.items():
        rates = f"breaks {_rate(one.live)} live, {_rate(one.simulated)} simulated"
        yield MARKS[one.verdict], f"{name}: {rates}; difference {_difference(one)}: {VERDICTS[one.verdict]}"


def _rate(rate: Rate) -> str:
    return f"{rate.rate:.3f} [{rate.low:.3f}, {rate.high:.3f}]"


def _difference(one: Agreement) -> str:
    return f"{one.difference:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"
