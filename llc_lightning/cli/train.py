"""The command ``train.py``: one clear sentence for what goes wrong, and an exit code that says what kind it is.

It imports nothing heavy until it must, so that ``--help`` is there at once.
"""

import sys
from collections.abc import Sequence

from llc_lightning.runtime.errors import LLCLightningError, one_line

OK, FAILED, USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
_DEBUG = "--debug"


def main(argv: Sequence[str], *, help_text: str = "") -> int:
    """Runs the command line and returns its exit code.

    0: done. 1: it cannot be done, for a reason that only shows when it is tried. 2: the command or a configuration
    file is wrong. 130 and 143: stopped by Ctrl-C or SIGTERM; the run can be continued.

    Args:
        argv: The arguments, without the program. ``--debug`` among them shows tracebacks and what Lightning tells.
        help_text: What ``--help`` without a subcommand shows.
    """
    arguments = [argument for argument in argv if argument != _DEBUG]
    debug = len(arguments) < len(argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(help_text.strip())
        return OK if arguments else USAGE
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
    finally:
        _leave_the_group()
    return OK


def _leave_the_group() -> None:
    """Ends the threads of a group of processes, which otherwise can abort the interpreter while it shuts down."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


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
