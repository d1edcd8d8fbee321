"""What ``arbsim init`` writes: a scenario that runs as it is, and says what can be changed."""

from __future__ import annotations

from arbsim.scenario.schema import SCHEMA_FILE

_TEMPLATE = """\
# yaml-language-server: $schema=@SCHEMA@
# $schema: @SCHEMA@
#
# An arbsim scenario. It runs as it is:  arbsim run @FILE@
# Times are written as 31 ms or 1.5 s, money as 100.00, rates as 40/s, parts as 5 %.
name: my first scenario
question: Can two regions both spend the same money?

# The same seed gives the same operations and the same network weather, for every design.
seed: 1

# The regions, by names of your own. `clients: false` makes a replica that serves no clients; without a third
# replica a majority could not survive the loss of a region.
regions:
  east: {location: us-east-1}
  west: {location: us-west-2}
  central: {location: us-east-2, clients: false}

# A preset of round trips between AWS regions, or a table of your own:
#   round_trips: {east-west: 64 ms, east-central: 15 ms, west-central: 51 ms}
network: {round_trips: aws-2025, jitter: 5 %}

# leader: the region that decides. gateway: whether clients talk to a node of their own region (nearest) or to
# the leader's. dialect: yugabyte or postgres.
database: {dialect: yugabyte, leader: east, gateway: nearest}
kafka: {leader: east}

# Accounts one by one, such as {1: 100.00, 2: 50.00}, or many alike:
accounts: {count: 8, balance: 50.00}

# What the clients do: one of `operations` (a list), `generate` (a recipe) and `trace` (a CSV file).
workload:
  generate:
    operations: 500
    arrivals: {process: poisson, rate: 30/s} # or uniform; or bursts, with `burst: 20`
    accounts: {distribution: zipf, exponent: 0.99} # the first accounts are the hot ones; or uniform
    amounts: {from: 5.00, to: 40.00} # or {fixed: 10.00}
    mix: {withdraw: 55 %, deposit: 30 %, transfer: 5 %, read: 10 %}
  # operations:
  #   - {at: 0 ms, region: east, withdraw: 70.00, account: 1}
  #   - {at: 5 ms, region: west, withdraw: 60.00, account: 1}
  # trace: operations.csv # columns: at,region,kind,account,to_account,amount

# `arbsim designs` lists them all. A design can stand twice, with other parameters, under a name of its own.
designs:
  - bus/regional-deltas
  - bus/single-writer
  - db/atomic-update
  - {name: think long, design: db/select-then-update, think_time: 80 ms}
  # Your own transaction, in SQL:
  # - name: ours
  #   sql:
  #     withdraw:
  #       - statement: SELECT balance FROM acct WHERE id = :account FOR UPDATE
  #       - reject unless: balance >= :amount
  #       - statement: UPDATE acct SET balance = balance - :amount WHERE id = :account

# What you expect. A design that is not named here is held to what it claims itself.
expect:
  bus/single-writer: {verdict: not-violated}
  db/atomic-update: {verdict: not-violated}
"""


def init_template(file: str = "scenario.yaml") -> str:
    """Return a commented scenario; ``file`` is the name it will have. Its schema belongs beside it."""
    return _TEMPLATE.replace("@SCHEMA@", SCHEMA_FILE).replace("@FILE@", file)
