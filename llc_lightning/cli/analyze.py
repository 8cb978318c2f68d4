"""The command ``analyze.py``: reads a run, finished or not, and says what it found.

It imports nothing heavy until it must, so that ``--help`` is there at once.
"""

import os
import sys
from collections.abc import Sequence

from llc_lightning.cli.commands import commands
from llc_lightning.cli.options import Options
from llc_lightning.runtime.errors import LLCLightningError, one_line

OK, FAILED, INTERRUPTED = 0, 1, 130


def main(argv: Sequence[str], *, help_text: str = "") -> int:
    """Runs the command line and returns its exit code.

    0: done. 1: it cannot be done, for a reason that only shows when it is tried. 2: the command is wrong (by
    ``SystemExit``, as argparse does). 130: stopped by Ctrl-C.

    Args:
        argv: The arguments, without the program.
        help_text: What ``--help`` shows above the subcommands.
    """
    options = parser(help_text).parse_args(argv)
    try:
        options.run_command(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python must not complain when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (LLCLightningError, OSError) as error:
        if getattr(options, "debug", False):  # a command may have no such option
            raise
        said = one_line(error)
        sys.stderr.write(f"error: {said}{'' if said.endswith('?') else '.'}\n")
        return FAILED
    return OK


def parser(help_text: str = "") -> Options:
    """Returns the parser of all commands."""
    top = Options(prog="analyze.py", description=help_text.strip() or __doc__)
    below = top.add_subparsers(required=True, metavar="COMMAND", dest="COMMAND")
    for name, command in commands().items():
        one = below.add_parser(name, help=command.DOES, description=command.DOES, fill=command.add_options)
        one.set_defaults(run_command=command.run)
    return top
