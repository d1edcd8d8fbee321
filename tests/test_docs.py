"""What the documents say: examples run, names exist, links lead somewhere."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from arbsim.designs import catalogue
from arbsim.scenario.load import parse_scenario
from arbsim.scenario.source import Source
from arbsim.worlds.virtual.sql import check_statement

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

REST = """\
name: from a document
regions:
  east: {location: us-east-1}
  west: {location: us-west-2}
accounts: {1: 100.00}
workload: {operations: [{at: 0 ms, region: east, withdraw: 70.00, account: 1}]}
"""


def yaml_blocks(path: Path) -> list[str]:
    """The indented blocks that list designs."""
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", path.read_text(encoding="utf-8"), re.MULTILINE)
    designs = [textwrap.dedent(block).strip("\n") for block in blocks if "- name: ours" in block]
    return [block if block.startswith("designs:") else "designs:\n" + block for block in designs]


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", ROOT / "docs" / "own-designs.md"], ids=lambda path: path.name
)
def test_the_sql_designs_in_the_documents_load(path: Path) -> None:
    (block,) = yaml_blocks(path)
    scenario = parse_scenario(Source(path.name, REST + block + "\n"), folder=ROOT, check_sql=check_statement)
    assert [entry.name for entry in scenario.designs] == ["ours"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_that_are_there(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_designs_that_are_named_exist(path: Path) -> None:
    named = set(re.findall(r"\b(?:bus|db)/[a-z-]+[a-z]\b", path.read_text(encoding="utf-8")))
    assert named <= set(catalogue())


def test_the_readme_shows_what_a_run_prints() -> None:
    shown = textwrap.dedent(
        re.findall(r"    \$ make run\n((?: {4}.*\n|\n)+)", (ROOT / "README.md").read_text(encoding="utf-8"))[
            0
        ]
    )
    from arbsim.report import console
    from tests.report.results import shipped

    printed = console.render(shipped("two_regions"))
    before, after = shown.split("...\n")
    assert printed.startswith(before.strip("\n"))
    assert "Replay: arbsim run scenarios/two_regions.yaml --seed 42" in after
    page = ROOT / "reports" / "two_regions" / "report.html"
    assert f"({page.stat().st_size // 1000} kB)" in after
