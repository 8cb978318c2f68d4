"""The built wheel, without its dependencies, over an environment that has these: `make wheel`.

A new user's first three commands, from an empty folder, by a package of which no checkout is in sight.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHORT = [
    *("--trainer.max_steps", "10", "--trainer.enable_progress_bar", "false", "--llc.draws", "8", "--llc.burn_in", "4"),
    *("--llc.components", "[all]", "--llc.chains", "2", "--llc.when.init_args.n", "2"),
]


def run(*words: object, folder: Path) -> str:
    """Runs a command and returns what it prints; one that fails ends the check."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([*map(str, words)], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))} failed in {folder}:\n{done.stdout}{done.stderr}")
    return done.stdout


def installed(folder: Path, *, over: str) -> Path:
    """Builds the wheel, and returns the programs of a new environment that has it, and what another one has besides.

    Args:
        folder: Where wheel and environment go.
        over: The other environment's site-packages; what it has in the editable way is not seen through it.
    """
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, folder=ROOT)
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", "venv", folder=folder)
    programs = folder / "venv" / "bin"
    run(
        *(sys.executable, "-m", "pip", "--quiet", "--python", programs / "python"),
        *("install", "--no-index", "--no-deps", wheel),
        folder=folder,
    )
    (home,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (home / "over.pth").write_text(f"{over}\n")
    return programs


def main() -> None:
    """Installs, begins, trains, reports."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        programs = installed(Path(scratch), over=sysconfig.get_path("purelib"))
        empty = Path(scratch, "empty")
        empty.mkdir()
        own = programs / "llc-lightning"
        where = run(programs / "python", "-c", "import llc_lightning; print(llc_lightning.__file__)", folder=empty)
        assert where.startswith(str(programs.parent)), where
        run(own, "init", folder=empty)
        # A configuration that comes with the package lies below the new one, so that it is found and changes nothing.
        files = ("-c", "overlays/at_end", "-c", "config.yaml")
        assert "\nnext: llc-lightning analyze report" in run(own, "train", "fit", *files, *SHORT, folder=empty)
        run(own, "analyze", "report", "checkpoints/my_run/version_0", folder=empty)
        assert (empty / "checkpoints/my_run/version_0/report.html").is_file()
    print(f"the wheel trains and reports from an empty folder: {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
