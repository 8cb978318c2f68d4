"""The command ``llc-lightning init``: files to begin with, which run as they are."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from llc_lightning.cli.options import Options
from llc_lightning.runtime.doors import PROGRAM, call
from llc_lightning.runtime.errors import StoreError, one_line

FILES = ("config.yaml", "my_model.py")
OK, FAILED = 0, 1
_HOME = Path(__file__).parent / "start"


def main(argv: Sequence[str]) -> int:
    """Writes the files and returns the exit code: 0 done, 1 cannot be done, 2 (by ``SystemExit``) a wrong command."""
    one = Options(prog=f"{PROGRAM} init", description="Writes a configuration and a module of your own to begin with.")
    one.add_argument("folder", nargs="?", type=Path, default=Path(), help="where to write (default: here)")
    try:
        return _init(one.parse_args(argv))
    except (StoreError, OSError) as error:
        sys.stderr.write(f"error: {one_line(error)}\n")
        return FAILED


def _init(options: Namespace) -> int:
    """Writes the files, of which none may be there yet."""
    folder: Path = options.folder
    for name in FILES:
        if (folder / name).exists():
            raise StoreError(f"{folder / name} exists already; give another folder, such as `{PROGRAM} init mine`.")
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (folder / name).write_text((_HOME / name).read_text(encoding="utf-8"), encoding="utf-8")
    there = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    sys.stdout.write(f"wrote {', '.join(str(folder / name) for name in FILES)}\n")
    sys.stdout.write(f"next: {there}{call('train', 'fit', '-c', FILES[0])}\n")
    return OK
