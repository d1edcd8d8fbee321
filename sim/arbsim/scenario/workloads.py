"""The workload part of a scenario: a list of operations, a recipe for them, or a recorded trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import (
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from arbsim.model import Kind, Operation
from arbsim.scenario.names import names_of
from arbsim.scenario.quantities import DAY, S, Text, Whole, fault
from arbsim.scenario.values import (
    EXACTLY_ONE_KEY,
    OPERATIONS_MAX,
    Account,
    Amount,
    ClientRegionName,
    DistributionWord,
    Frequency,
    KindWord,
    Power,
    ProcessWord,
    Section,
    Share,
    Time,
    Yes,
)

_WHOLE_SHARE = 1_000_000
TIME_MAX = 7 * DAY


class ListedOperation(Section):
    """One operation: when, where, what, on which account."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [kind.value]} for kind in Kind]})

    at: Time = Field(description="When the client begins, counted from the start of the run.")
    region: ClientRegionName = Field(description="Where the client is.")
    withdraw: Amount | None = Field(
        default=None, description="Take this amount; refused where it is not covered."
    )
    deposit: Amount | None = Field(default=None, description="Add this amount.")
    transfer: Amount | None = Field(
        default=None, description="Move this amount from `account` to `to_account`."
    )
    read: Yes | None = Field(default=None, description="`read: true` asks for the balance.")
    account: Account = Field(description="The account that is read or changed.")
    to_account: Account | None = Field(default=None, description="Where a transfer goes.")

    @model_validator(mode="after")
    def _one_intent(self) -> ListedOperation:
        intents = [kind.value for kind in Kind if getattr(self, kind.value) is not None]
        if len(intents) != 1 or self.read is False:
            have = " and ".join(intents) if len(intents) > 1 else "none"
            message = f"one of withdraw, deposit, transfer or read was expected, and here is {have}"
            raise fault("E112", message, "such as withdraw: 70.00, or read: true")
        check_target(self.kind, self.account, self.to_account)
        return self

    @property
    def kind(self) -> Kind:
        """What the client wants."""
        return next(kind for kind in Kind if getattr(self, kind.value) is not None)

    @property
    def amount_cents(self) -> int:
        """The amount; 0 for a read."""
        return 0 if self.kind is Kind.READ else int(getattr(self, self.kind.value))


def check_target(kind: Kind, account: int, to_account: int | None) -> None:
    """Check that a transfer, and nothing else, names another account. Raises the scenario's error."""
    if kind is Kind.TRANSFER and to_account is None:
        raise fault("E107", "a transfer needs to_account", "such as to_account: 2")
    if kind is not Kind.TRANSFER and to_account is not None:
        raise fault("E112", f"a {kind} has no to_account", "write transfer, or remove to_account")
    if account == to_account:
        raise fault("E112", f"account {account} cannot transfer to itself")


class Arrivals(Section):
    """When operations begin, in all regions together."""

    process: ProcessWord = Field(
        default="poisson",
        description="poisson: independent clients; uniform: equal gaps; bursts: many at once, at random times.",
    )
    rate: Frequency = Field(description="The mean rate of all regions together, such as 200/s.")
    burst: Annotated[int, Whole(at_least=2, at_most=100_000)] | None = Field(
        default=None, description="bursts: how many operations a burst has."
    )
    within: Time | None = Field(default=None, description="bursts: how long a burst lasts; 0 s if absent.")

    @model_validator(mode="after")
    def _bursts(self) -> Arrivals:
        if self.process == "bursts" and self.burst is None:
            raise fault("E107", "bursts need a size", "such as burst: 20")
        if self.process != "bursts" and (self.burst is not None or self.within is not None):
            raise fault("E112", f"burst and within mean nothing to the process {self.process}")
        return self


class AccountChoice(Section):
    """Which account an operation touches."""

    distribution: DistributionWord = Field(
        default="uniform",
        description="uniform: all alike; zipf: the n-th account is chosen in proportion to 1 / n^exponent.",
    )
    exponent: Power | None = Field(
        default=None, description="zipf: how uneven; 0 is uniform. 0.99 if absent."
    )

    @model_validator(mode="after")
    def _exponent(self) -> AccountChoice:
        if self.distribution == "uniform" and self.exponent is not None:
            raise fault(
                "E112", "an exponent means nothing to the uniform distribution", "write distribution: zipf"
            )
        return self


class Amounts(Section):
    """How much an operation moves: from ``from`` to ``to``, or ``fixed``, or one of ``weights``."""

    from_: Amount | None = Field(
        default=None, alias="from", description="The least amount; each cent is equally likely."
    )
    to: Amount | None = Field(default=None, description="The greatest amount.")
    fixed: Amount | None = Field(default=None, description="Always this amount.")
    weights: dict[Amount, Share] | None = Field(
        default=None, description="Amounts and how often each is taken, such as {5.00: 60 %, 20.00: 40 %}."
    )

    @model_validator(mode="after")
    def _one_form(self) -> Amounts:
        forms = [
            self.from_ is not None or self.to is not None,
            self.fixed is not None,
            self.weights is not None,
        ]
        if sum(forms) != 1:
            raise fault("E112", "one form was expected: from and to, or fixed, or weights")
        if forms[0]:
            if self.from_ is None or self.to is None:
                raise fault("E107", "from and to belong together")
            if self.from_ > self.to:
                raise fault("E112", "from is greater than to")
        if self.weights is not None:
            check_whole(self.weights.values(), "weights")
        return self


def check_whole(shares: Any, what: str) -> None:
    """Check that shares make up a whole. Raises the scenario's error."""
    total = sum(shares)
    if total != _WHOLE_SHARE:
        raise fault("E112", f"the {what} make up {total / 10_000:g} %, not 100 %")


class RegionLoad(Section):
    """What is different for the clients of one region."""

    share: Share | None = Field(
        default=None, description="Its part of all operations. Regions that name none share the rest equally."
    )
    mix: dict[KindWord, Share] | None = Field(default=None, description="Its own mix of kinds of operation.")

    @model_validator(mode="after")
    def _mix(self) -> RegionLoad:
        if self.mix is not None:
            check_whole(self.mix.values(), "parts of the mix")
        return self


class Recipe(Section):
    """Operations drawn from distributions, always the same for the same seed."""

    operations: Annotated[int, Whole(at_least=1, at_most=OPERATIONS_MAX)] = Field(
        description="How many operations, in all regions together."
    )
    arrivals: Arrivals = Field(description="When operations begin.")
    accounts: AccountChoice = Field(default=AccountChoice(), description="Which accounts they touch.")
    amounts: Amounts = Field(description="How much they move.")
    mix: dict[KindWord, Share] = Field(
        description="How often each kind comes, such as {withdraw: 60 %, deposit: 30 %, read: 10 %}."
    )
    regions: dict[ClientRegionName, RegionLoad] = Field(
        default={}, description="What is different in a region."
    )

    @model_validator(mode="after")
    def _whole(self, info: ValidationInfo) -> Recipe:
        check_whole(self.mix.values(), "parts of the mix")
        named = [load.share for load in self.regions.values() if load.share is not None]
        names = names_of(info)
        if sum(named) > _WHOLE_SHARE:
            raise fault(
                "E112", f"the shares of the regions make up {sum(named) / 10_000:g} %, more than 100 %"
            )
        if names is not None and len(named) == len(names.client_regions):
            check_whole(named, "shares of the regions")
        if self.operations * S > TIME_MAX * self.arrivals.rate:
            raise fault("E111", "at this rate the operations take longer than 7 days", "raise arrivals.rate")
        self._check_transfers(info)
        return self

    def _check_transfers(self, info: ValidationInfo) -> None:
        names = names_of(info)
        mixes = [self.mix, *(load.mix for load in self.regions.values() if load.mix)]
        accounts = names.accounts if names is not None else None
        few = isinstance(accounts, range | frozenset) and len(accounts) < 2
        if few and any(mix.get(Kind.TRANSFER) for mix in mixes):
            raise fault("E112", "a transfer needs two accounts, and only one is opened")


@dataclass(frozen=True)
class Trace:
    """Recorded operations, from a CSV file. ``sha256`` is that of the file's bytes, as hex digits."""

    file: str
    sha256: str = ""
    operations: tuple[Operation, ...] = field(default=(), repr=False)


def _read_trace(raw: Any, info: ValidationInfo) -> Trace:
    """Return what the loader found in the file; the file's own mistakes are told with their own places."""
    file = Text(at_most=300).check(raw)
    names = names_of(info)
    return names.trace if names is not None and names.trace is not None else Trace(file)


TraceFile = Annotated[
    Trace,
    PlainValidator(_read_trace),
    PlainSerializer(lambda trace: trace.file),
    WithJsonSchema({"type": "string", "minLength": 1}),
]


class WorkloadSpec(Section):
    """What the clients do: exactly one of ``operations``, ``generate`` and ``trace``."""

    model_config = EXACTLY_ONE_KEY

    operations: tuple[ListedOperation, ...] | None = Field(
        default=None,
        min_length=1,
        description="A list. Operations at the same time begin in the order of the list.",
    )
    generate: Recipe | None = Field(default=None, description="A recipe.")
    trace: TraceFile | None = Field(
        default=None,
        description="The name of a CSV file beside the scenario, with a header line and the columns at"
        " (such as 31 ms) or at_ms, region, kind, account, to_account and amount.",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_source(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            return data
        given = [key for key in ("operations", "generate", "trace") if key in data]
        if len(given) != 1:
            have = " and ".join(given) or "none of them"
            raise fault("E112", f"one of operations, generate or trace was expected, and here is {have}")
        return data

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}
