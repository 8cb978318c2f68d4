"""The command that trains: one clear sentence for what goes wrong, and an exit code that says what kind it is.

It imports nothing heavy until it must, so that ``--help`` and what is wrong with a file are there at once.
"""

import sys
import textwrap
from collections.abc import Sequence

from llc_lightning.cli.files import names, with_files
from llc_lightning.cli.known import check_keys
from llc_lightning.runtime.doors import call
from llc_lightning.runtime.errors import LLCLightningError, SettingError, one_line

OK, FAILED, USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
_DEBUG = "--debug"
HELP = r"""
Trains a network, and measures while it trains.

    {train} fit -c cis                              train with live LLC and ablations
    {train} fit -c smoke/cis                        the same in less than a minute
    {train} fit -c mine.yaml                        a configuration of your own; `llc-lightning init` writes one
    {train} fit -c cis --seed_everything 1          another seed, in its own folder
    {train} fit -c cis --llc.chains 8 --llc.draws 500  change settings key by key
    {train} fit -c cis -c overlays/ddp2_cpu         lay a second file over the first
    {train} fit -c cis --print_config               every setting, with what it is now
    {train} fit -c cis --ckpt_path last             continue the newest run of the experiment

    On 4 GPUs:   add --trainer.devices 4 --trainer.strategy ddp
    On 2 nodes:  torchrun --nnodes 2 --nproc_per_node 4 --rdzv_backend c10d --rdzv_endpoint HOST:29500 \
                 -m llc_lightning train fit -c cis --trainer.num_nodes 2 --trainer.devices 4 --trainer.strategy ddp

`{train} fit --help` lists every key. A run leaves everything in checkpoints/<experiment>/version_<n>/.
Configurations that come with the package: {names}.
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit code.

    0: done. 1: it cannot be done, for a reason that only shows when it is tried. 2: the command or a configuration
    file is wrong. 130 and 143: stopped by Ctrl-C or SIGTERM; the run can be continued.

    Args:
        argv: The arguments, without the program. ``--debug`` among them shows tracebacks and what Lightning tells.
    """
    arguments = [argument for argument in argv if argument != _DEBUG]
    debug = len(arguments) < len(argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(help_text())
        return OK if arguments else USAGE
    try:
        arguments = with_files(arguments)
        check_keys(arguments)
    except SettingError as error:
        sys.stderr.write(f"error: {one_line(error)}.\n")
        return USAGE
    try:
        from llc_lightning.cli.fit import FitCLI

        FitCLI(arguments, quiet=not debug)
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as stop:
        code = _code(stop)
        if code in (INTERRUPTED, TERMINATED):
            sys.stderr.write("stopped; the run can be continued: give the same command again with --ckpt_path last\n")
        elif _is_stopped(stop):
            sys.stderr.write("stopped and requeued; the next job of this number goes on with the run\n")
        return code
    except Exception as error:
        if debug or not _is_told_in_a_sentence(error):
            raise
        sys.stderr.write(f"error: {one_line(error).rstrip('!')}.\n")
        return FAILED
    return OK


def help_text() -> str:
    """Returns what ``--help`` shows: recipes, as this process was called."""
    listed = textwrap.fill(", ".join(names()), 118, break_on_hyphens=False)
    return HELP.strip().format(train=call("train"), names=listed)


def _is_told_in_a_sentence(error: Exception) -> bool:
    """Says whether the message alone tells the user what to do; any other is a fault in code and needs a traceback."""
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    return isinstance(error, LLCLightningError | MisconfigurationException | OSError)


def _is_stopped(stop: SystemExit) -> bool:
    """Says whether a signal has stopped a training."""
    from llc_lightning.runtime.signals import Stopped

    return isinstance(stop, Stopped)


def _code(stop: SystemExit) -> int:
    """Returns the exit code of a stop; Lightning turns a second Ctrl-C into a plain exit while it shuts down."""
    if isinstance(stop.__context__, KeyboardInterrupt):
        return INTERRUPTED
    return stop.code if isinstance(stop.code, int) else (OK if stop.code is None else FAILED)
