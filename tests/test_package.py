"""What holds for the project as a whole: its version, its lock, its files' names and sizes."""

import ast
import importlib.metadata
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import arbsim

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "sim").rglob("*.py"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
SUPPORTED_PYTHONS = ("3.11", "3.12", "3.13")

MOST_LINES_OF_A_MODULE = 600
MOST_LINES_OF_A_FUNCTION = 70


def locked() -> Iterator[tuple[Requirement, str]]:
    """Each requirement of the lock, with the rest of its entry: the hashes."""
    for entry in LOCK.replace("\\\n", " ").splitlines():
        if entry and not entry.startswith("#"):
            requirement, _, hashes = entry.partition(" --hash=")
            yield Requirement(requirement), "--hash=" + hashes


def wanted() -> list[Requirement]:
    texts = [
        *PYPROJECT["project"]["dependencies"],
        *PYPROJECT["dependency-groups"]["dev"],
        *PYPROJECT["build-system"]["requires"],
    ]
    return [Requirement(text) for text in texts]


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_the_installed_version_is_the_one_in_the_source() -> None:
    assert importlib.metadata.version("arbsim") == arbsim.__version__


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "sim/arbsim/py.typed").is_file()


def test_the_lock_satisfies_every_requirement_on_every_supported_python() -> None:
    for python in SUPPORTED_PYTHONS:
        environment = {
            **default_environment(),
            "python_version": python,
            "python_full_version": f"{python}.0",
        }
        versions = {
            canonicalize_name(requirement.name): next(iter(requirement.specifier)).version
            for requirement, _ in locked()
            if requirement.marker is None or requirement.marker.evaluate(environment)  # type: ignore[arg-type]
        }
        missing = [
            str(want)
            for want in wanted()
            if not want.specifier.contains(versions.get(canonicalize_name(want.name), "0"))
        ]
        assert missing == [], f"not in the lock for Python {python}: run `make lock`"


def test_the_lock_pins_each_package_exactly_and_by_hash() -> None:
    for requirement, hashes in locked():
        assert [part.operator for part in requirement.specifier] == ["=="], requirement
        assert all(part.startswith("--hash=sha256:") for part in hashes.split()), requirement


def test_the_lock_names_no_address_and_no_index() -> None:
    assert "://" not in LOCK
    assert [line for line in LOCK.splitlines() if line.startswith("-")] == []


def test_no_tracked_file_names_a_registry() -> None:
    hosts = [b".".join(parts) for parts in ((b"pypi", b"org"), (b"pythonhosted", b"org"), (b"npmjs", b"org"))]
    naming = [path for path in tracked_files() if any(host in path.read_bytes() for host in hosts)]
    assert naming == []


def test_no_module_outgrows_a_few_screens() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES_OF_A_MODULE} == {}


def test_no_function_outgrows_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    ]
    assert long == []
