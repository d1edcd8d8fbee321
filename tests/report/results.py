"""Results for the tests of the reports."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from arbsim.explanation import Explanation
from arbsim.explore.every_order import every_order
from arbsim.results import Results
from arbsim.runner import designs_of, run_scenario
from arbsim.scenario import Scenario, load_scenario
from arbsim.workload import build_workload

SCENARIOS = Path(__file__).parents[2] / "scenarios"

HOSTILE = "<script>alert(1)</script> [red]x[/red] {{7*7}} | `a` *b* \\ & \" '"
"""Every letter of it must stay what it is, in every format."""


def run(scenario: Scenario) -> Results:
    """The results of a scenario, all designs."""
    workload = build_workload(scenario)
    return run_scenario(
        scenario, workload, scenario.seed, designs_of(scenario), "arbsim run x.yaml", search=every_order
    ).results


@cache
def shipped(name: str) -> Results:
    """The results of a shipped scenario."""
    return run(load_scenario(SCENARIOS / f"{name}.yaml"))


def _hostile_explanation(results: Results) -> Explanation:
    """An explanation in which the west, the topics and the twin have hostile names."""

    def spoilt(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("west", HOSTILE).replace("commands", HOSTILE + ";\nend")
        if isinstance(value, dict):
            return {spoilt(key): spoilt(one) for key, one in value.items()}
        return [spoilt(one) for one in value] if isinstance(value, list) else value

    explanation = results.designs["bus/regional-deltas"].explanation
    assert explanation is not None
    document = spoilt(explanation.model_dump(mode="json"))
    document["twin"]["design"] = HOSTILE
    return Explanation.model_validate(document)


@cache
def hostile() -> Results:
    """Results in which everything that people can name has a hostile name."""
    results = shipped("two_regions")
    design = results.designs["bus/regional-deltas"].model_copy(
        update={
            "summary": HOSTILE,
            "steps": (HOSTILE + "\n```\n~~~\n</code></pre>",),
            "parameters": {HOSTILE: HOSTILE},
            "final": {"1": {HOSTILE: "-30.00"}},
            "failures": {HOSTILE: 1},
            "notes": (HOSTILE,),
            "cure": HOSTILE,
            "explanation": _hostile_explanation(results),
        }
    )
    rows = tuple(row.model_copy(update={"region": HOSTILE}) for row in results.workload.rows)
    return results.model_copy(
        update={
            "name": HOSTILE,
            "question": HOSTILE + "\x1b[31m\u202e\r\n# heading",
            "designs": {HOSTILE: design, **results.designs},
            "workload": results.workload.model_copy(update={"rows": rows, "by_region": {HOSTILE: 2}}),
            "manifest": results.manifest.model_copy(
                update={"replay": HOSTILE, "scenario": {"name": HOSTILE + "\u202e"}}
            ),
            "expectations": tuple(
                one.model_copy(update={"what": HOSTILE, "observed": HOSTILE, "status": "broken"})
                for one in results.expectations[:1]
            ),
        }
    )
