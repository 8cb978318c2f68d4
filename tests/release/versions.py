"""The oldest and the newest versions of every dependency: `make release-check`. It takes a quarter of an hour.

Each of the two environments gets the built wheel with its dependencies, does what a new user does first in an empty
folder, and then passes the core of the tests. torch is that of constraints.txt in both: other builds are not had
everywhere.
"""

import argparse
import re
import subprocess
import sys
import time
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from wheel import ROOT, SHORT, run

CORE = (
    "tests/ablation/test_effects.py",
    "tests/callbacks/test_dashboard.py",
    "tests/callbacks/test_llc.py",
    "tests/cli/test_init.py",
    "tests/cli/test_known.py",
    "tests/cli/test_main.py",
    "tests/llc/test_datatree.py",
    "tests/measure/test_offline.py",
    "tests/models/test_bridge.py",
    "tests/report/test_html.py",
    "tests/results",
)
FOR_TESTS = ("beartype>=0.20", "devinterp>=2,<3", "pytest>=8.4", "pytest-timeout>=2.3")


def dependencies() -> list[Requirement]:
    """Returns what pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"]]


def oldest(requirement: Requirement) -> str:
    """Returns the lower bound as a pin, such as ``numpy==2``."""
    (low,) = (one.version for one in requirement.specifier if one.operator == ">=")
    return f"{requirement.name}=={low}"


def environment(name: str, home: Path, wheel: Path) -> Path:
    """Makes an environment, and returns its Python."""
    python = home / name / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", home / name, folder=home)
        run(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip", folder=home)
    pins = [oldest(one) for one in dependencies() if one.name != "torch"] if name == "oldest" else []
    (home / f"{name}.txt").write_text("\n".join([(ROOT / "constraints.txt").read_text(encoding="utf-8"), *pins, ""]))
    pip = (python, "-m", "pip", "install", "--quiet", "--constraint", home / f"{name}.txt")
    run(*pip, wheel, *FOR_TESTS, folder=home)
    run(*pip, "--no-deps", "--force-reinstall", wheel, folder=home)
    return python


def begin(python: Path, empty: Path) -> float:
    """Does what a new user does first, and returns the seconds that it took."""
    began = time.perf_counter()
    empty.mkdir(parents=True)
    own = python.parent / "llc-lightning"
    run(own, "init", folder=empty)
    run(own, "train", "fit", "-c", "config.yaml", *SHORT, folder=empty)
    run(own, "analyze", "report", "checkpoints/my_run/version_0", folder=empty)
    run(own, "train", "fit", "-c", "smoke/cis", "--print_config", folder=empty)
    return time.perf_counter() - began


def core(python: Path) -> str:
    """Returns the last line of the core of the tests; deprecations that others' old versions tell of are no errors."""
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore::DeprecationWarning", *CORE)
    done = subprocess.run([python, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode:
        print("\n".join(line for line in lines if re.match(r"FAILED|ERROR|E  ", line)))
    return lines[-1]


def versions(python: Path) -> dict[str, str]:
    """Returns the version of every dependency in an environment."""
    (home,) = (python.parents[1] / "lib").glob("python*/site-packages")
    names = [one.name for one in dependencies()]
    found = {one.name.lower().replace("_", "-"): one.version for one in metadata.distributions(path=[str(home)])}
    return {name: found[name] for name in names}


def main() -> None:
    """Prints a table of versions, and how each environment fared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / ".peers" / "release", help="where environments go")
    parser.add_argument("names", nargs="*", default=["oldest", "newest"], help="(default: oldest newest)")
    given = parser.parse_args()
    home: Path = given.folder.resolve()
    home.mkdir(parents=True, exist_ok=True)
    built = home / f"built-{time.time():.0f}"
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", built, folder=ROOT)
    (wheel,) = built.glob("*.whl")
    pythons = {name: environment(name, home, wheel) for name in given.names}
    told = {name: versions(python) for name, python in pythons.items()}
    for requirement in dependencies():
        print(f"{requirement!s:45}", *(f"{told[name][requirement.name]:16}" for name in pythons))
    for name, python in pythons.items():
        print(f"{name}: first commands in {begin(python, built / name):.0f} s; core: {core(python)}")


if __name__ == "__main__":
    main()
