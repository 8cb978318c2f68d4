"""The command that reads a run, finished or not, and says what it found.

It imports nothing heavy until it must, so that ``--help`` is there at once.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from llc_lightning.cli.commands import commands
from llc_lightning.cli.options import Options
from llc_lightning.results.run import Run
from llc_lightning.runtime.doors import call
from llc_lightning.runtime.errors import LLCLightningError, one_line

OK, FAILED, INTERRUPTED = 0, 1, 130
HELP = """
Reads a run, finished or not: what it found, its figures, its numbers.

    {analyze} summary checkpoints/cis/version_0            one screen: findings, how far to trust them
    {analyze} report checkpoints/cis/version_0             one HTML page with every figure and table
    {analyze} report checkpoints/cis/version_0 --control checkpoints/cis_mse/version_0       beside another run
    {analyze} compare checkpoints/cis/version_0 checkpoints/cis/version_1 --out figures  differences and curves
    {analyze} trajectories checkpoints/cis/version_0 --quantities llc llc_plus_delta         curves in numbers
    {analyze} trajectories checkpoints/cis/version_0 --component 'net.hook_hidden[7]' --out neuron.csv
    {analyze} measure checkpoints/cis/version_0 --steps 3000 --only ablation                 measure snapshots
    {analyze} patch checkpoints/cis/version_0 --components layers --restore       what clean activations restore
    {analyze} calibrate checkpoints/cis/version_0          choose the LLC's settings, with a picture
    {analyze} stages checkpoints/induction/version_0       when it learnt what, with a picture
    {analyze} exact                                        learning coefficients known exactly: a list
    {analyze} exact reduced-rank --inputs 3 --hidden 2 --outputs 3 --rank 0 --n_beta 100 --gamma 1   one of them

Every command takes --json for machines and --out; `{analyze} COMMAND --help` lists its options.
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit code.

    0: done. 1: it cannot be done, for a reason that only shows when it is tried. 2: the command is wrong (by
    ``SystemExit``, as argparse does). 130: stopped by Ctrl-C.

    Args:
        argv: The arguments, without the program.
    """
    options = parser().parse_args(argv)
    try:
        for path in _runs(options):
            Run.open(path)  # before anything heavy is imported
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


def _runs(options: Namespace) -> list[Path]:
    """Returns the folders of runs that a command is given."""
    alone = [getattr(options, name, None) for name in ("run", "control")]
    return [*filter(None, alone), *getattr(options, "runs", ())]


def parser() -> Options:
    """Returns the parser of all commands."""
    told = call("analyze")
    top = Options(prog=told, description=HELP.strip().format(analyze=told))
    below = top.add_subparsers(required=True, metavar="COMMAND", dest="COMMAND")
    for name, command in commands().items():
        one = below.add_parser(name, help=command.DOES, description=command.DOES, fill=command.add_options)
        one.set_defaults(run_command=command.run)
    return top
