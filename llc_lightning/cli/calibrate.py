"""``analyze.py calibrate``: chooses the settings of the LLC at a checkpoint, draws them, and writes them down."""

import json
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llc_lightning.cli.files import write_text
from llc_lightning.cli.options import Options, common, number, step, whole
from llc_lightning.runtime.errors import StoreError

if TYPE_CHECKING:
    from llc_lightning.llc.calibration import Calibration

DOES = "Choose the settings of the LLC at a checkpoint, draw how it depends on them, and write the llc: block."
_KEYS = ("sampler", "step_fraction", "preconditioner", "chains", "burn_in", "draws", "batch_size")


def add_to(commands: Any) -> None:
    """Adds the command to those of analyze.py, which are what argparse's ``add_subparsers`` gives."""
    one: Options = commands.add_parser("calibrate", help=DOES, description=DOES)
    one.set_defaults(command=calibrate)
    one.add_argument(
        "checkpoint", metavar="CHECKPOINT", type=Path, help="a run folder (its last snapshot), or a file in snapshots/"
    )
    one.add_argument("--step", type=step, metavar="STEP", help="the snapshot of that step (default: the last)")
    one.add_argument("--n_beta", type=number, metavar="X", help="inverse temperature times examples (default: chosen)")
    one.add_argument("--gamma", type=number, metavar="X", help="localisation (default: chosen)")
    one.add_argument("--sampler", default="lm", metavar="NAME", help="the sampler (default: lm)")
    one.add_argument("--chains", type=whole, default=8, metavar="N", help="chains (default: 8)")
    one.add_argument("--batch_size", type=whole, default=128, metavar="N", help="examples per step (default: 128)")
    one.add_argument("--tolerance", type=number, default=0.05, metavar="X", help="allowed change (default: 0.05)")
    one.add_argument(
        "--budget", type=whole, default=200_000, metavar="N", help="steps of all chains together (default: 200000)"
    )
    one.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: RUN/calibration)")
    common(one)


def calibrate(options: Namespace) -> None:
    """Calibrates a checkpoint."""
    from llc_lightning.cli.console import Bars
    from llc_lightning.cli.offline import restored
    from llc_lightning.llc.calibration import calibrate as choose
    from llc_lightning.llc.sweep import sweep, sweep_steps
    from llc_lightning.report.calibration import draw_calibration
    from llc_lightning.report.figures import save

    run, at = _place(options)
    snapshot = restored(run, at)
    common_to_both: dict[str, Any] = {"seed": snapshot.seed}
    bars = Bars()
    with bars.task(f"calibrating at step {snapshot.step}", options.budget) as advance:
        found = choose(
            snapshot.loss,
            snapshot.params,
            snapshot.data,
            n_beta=options.n_beta,
            gamma=options.gamma,
            sampler=options.sampler,
            chains=options.chains,
            batch_size=options.batch_size,
            tolerance=options.tolerance,
            budget=options.budget,
            trivial_loss=snapshot.trivial_loss,
            done=advance,
            **common_to_both,
        )
    with bars.task("sweeping", sweep_steps(found.choice.settings)) as advance:
        swept = sweep(snapshot.loss, snapshot.params, snapshot.data, found, done=advance, **common_to_both)
    folder: Path = options.out or run / "calibration"
    name = f"step={snapshot.step:08d}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        picture = save(draw_calibration(found, swept), folder / f"{name}.png")
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}; choose another place with --out.") from error
    block = llc_block(found, step=snapshot.step)
    write_text(folder / f"{name}.yaml", block)
    written = [picture, folder / f"{name}.yaml"]
    if options.json:
        told = {
            "accepted": found.accepted,
            "refusal": found.refusal,
            "checks": [asdict(check) for check in found.checks],
            "record": found.record.facts(),
            "steps": found.steps,
            "written": [str(path) for path in written],
        }
        sys.stdout.write(json.dumps(_finite(told)) + "\n")
        return
    sys.stdout.write(_told(found) + "\n" + block)
    sys.stdout.write(f"wrote {', '.join(str(path) for path in written)}\n")
    sys.stdout.write("next: paste the block above into the run's configuration\n")


def llc_block(found: "Calibration", *, step: int) -> str:
    """Returns the block of a configuration, with a comment on how far to trust it."""
    settings = asdict(found.choice.settings)
    at = found.choice.resolution
    lines = [
        f"# Calibrated at step {step}: LLC {found.record.value:.5g} +- {found.record.stderr:.2g}, "
        f"{'accepted' if found.accepted else found.refusal}",
        "llc:",
        f"  n_beta: {at.n_beta!r}",
        f"  gamma: {at.gamma!r}",
        "  step_size: auto",
    ]
    for key in _KEYS:
        value = settings[key]
        lines.append(f"  {key}: {'null' if value is None else value}")
    return "\n".join(lines) + "\n"


def _place(options: Namespace) -> tuple[Path, int | None]:
    """Returns the run folder and the step that a checkpoint names."""
    path: Path = options.checkpoint
    if path.suffix == ".safetensors" and path.parent.name == "snapshots":
        return path.parent.parent, step(path.stem.removeprefix("step="))
    return path, options.step


def _told(found: "Calibration") -> str:
    record = found.record
    lines = [
        f"LLC {record.value:.5g} +- {record.stderr:.2g} at n_beta {record.n_beta:.5g}, gamma {record.gamma:.3g}, step "
        f"size {record.step_size:.3g} ({record.status}), after {found.steps} of {found.budget} steps"
    ]
    for check in found.checks:
        lines.append(f"  {'met   ' if check.passed else 'missed'}  {check.name}: {check.value:.4g} ({check.limit:.4g})")
    lines.append("accepted" if found.accepted else found.refusal)
    return "\n".join(lines)


def _finite(value: Any) -> Any:
    from llc_lightning.results.schema import decode_details, encode_details

    return decode_details(encode_details(value))
