"""The wheel works where the checkout is not."""

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import arbsim

ROOT = Path(__file__).parent.parent


SCENARIO = """\
name: from elsewhere
regions:
  east: {location: us-east-1}
  west: {location: us-west-2}
accounts: {1: 100.00}
workload: {operations: [{at: 0 ms, region: east, withdraw: 70.00, account: 1}]}
designs: [db/atomic-update]
expect: {db/atomic-update: {verdict: inconclusive}}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = into.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "arbsim"], cwd=ROOT / "sim", check=True, capture_output=True, text=True
    )
    packed = set(zipfile.ZipFile(wheel).namelist())
    present = {name for name in tracked.stdout.split("\0") if name and (ROOT / "sim" / name).is_file()}
    assert present - packed == set()
    assert any(name.endswith("licenses/LICENSE") for name in packed)


def test_the_wheel_installed_elsewhere_is_the_one_that_runs(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "elsewhere"
    venv.create(home)
    (site,) = home.glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)  # all that installing a pure wheel does, but for its commands
    # The dependencies are borrowed from this environment; its own link to the checkout is not followed.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")

    program = (
        "import arbsim, sys, runpy; print(arbsim.__version__); print(arbsim.__file__);"
        "from importlib.metadata import entry_points;"
        "(command,) = [one for one in entry_points(group='console_scripts') if one.name == 'arbsim'];"
        "sys.argv = ['arbsim', 'run', '-', '--json']; command.load()()"
    )
    ran = subprocess.run(
        [str(home / "bin" / "python"), "-I", "-c", program],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        input=SCENARIO,
    )
    version, file, document = ran.stdout.split("\n", 2)
    assert version == arbsim.__version__
    assert Path(file).is_relative_to(site)
    assert json.loads(document)["designs"]["db/atomic-update"]["verdict"] == "inconclusive"
    assert (tmp_path / "reports" / "from-elsewhere" / "report.html").is_file()


def test_the_wheel_carries_the_compose_file_and_what_it_names(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    stack = tmp_path / "arbsim" / "worlds" / "live" / "stack"
    tracked = [ROOT / "docker-compose.yml", *(ROOT / "compose").iterdir()]
    for file in tracked:
        assert (stack / file.relative_to(ROOT)).read_bytes() == file.read_bytes()
    program = "from arbsim.worlds.live import compose as c; c.compose_stack(); print(c.compose_file())"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(ran.stdout.strip()) == stack / "docker-compose.yml"
