"""``arbsim explain``: the first finding of one design, step by step, beside a design that holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from arbsim.cli.app import app
from arbsim.cli.inputs import (
    Changes,
    ScenarioFile,
    Seed,
    change_scenario,
    choose_design,
    own_designs_failing,
    read_scenario,
    replay_line,
)
from arbsim.cli.output import AsJson, print_out, visible
from arbsim.cli.run import progress

if TYPE_CHECKING:
    from arbsim.results import DesignResult


@app.command()
def explain(
    file: ScenarioFile,
    design: Annotated[str, typer.Option(help="The design to explain; path.py:ClassName is one of your own.")],
    seed: Seed = None,
    set_: Changes = None,
    as_json: AsJson = False,
) -> None:
    """Tell how one design broke: a proof, a picture, every step, and the same through a design that holds."""
    from arbsim.explanation import Explained
    from arbsim.explore.every_order import every_order
    from arbsim.report import story_text
    from arbsim.runner import explain_design
    from arbsim.workload import build_workload

    scenario = change_scenario(read_scenario(file), set_ or [])
    name, designs = choose_design(scenario, design)
    used = scenario.seed if seed is None else seed
    replay = replay_line("explain", file, used, [design], set_ or [])
    with own_designs_failing(scenario), progress(None) as told:
        workload = build_workload(scenario, used)
        results = explain_design(scenario, workload, used, name, designs, replay, told, every_order)
    result = results.designs[name]
    if as_json:
        document = Explained(
            design=name, verdict=result.verdict, replay=replay, explanation=result.explanation
        )
        print_out(document.model_dump_json(indent=2))
    elif result.explanation is None:
        print_out(f"{visible(name)}: {result.verdict.value}. {_why_untold(result)}.")
    else:
        print_out(story_text.render(results, name) + f"\nReplay: {replay}")


def _why_untold(result: DesignResult) -> str:
    """Why there is no explanation of a result."""
    if result.verdict.value != "violated":
        return "There is nothing to explain"
    if result.evidence.every_order is not None:
        return (
            "This run violates nothing, other orders of its operations do: arbsim explore shows the shortest"
        )
    return "No operation is named"
