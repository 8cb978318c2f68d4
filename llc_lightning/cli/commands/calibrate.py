"""``analyze.py calibrate``: chooses the settings of the LLC at a checkpoint, draws them, and writes them down."""

import json
import math
import sys
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llc_lightning.cli.console import Bars, analyze, following, make_folder, quoted, write
from llc_lightning.cli.options import Options, common, number, own_code, step, whole
from llc_lightning.runtime.errors import MeasurementError, SnapshotError
from llc_lightning.runtime.status import explain, is_ok

if TYPE_CHECKING:
    from llc_lightning.llc.calibrate.search import Calibration
    from llc_lightning.measure.snapshot import Snapshot

DOES = "Choose the settings of the LLC at a checkpoint, draw how it depends on them, and write the llc: block."


def add_options(one: Options) -> None:
    """Adds the command's options."""
    one.add_argument(
        "checkpoint", metavar="CHECKPOINT", type=Path, help="a run folder (its last snapshot), or a file in snapshots/"
    )
    one.add_argument("--step", type=step, metavar="STEP", help="the snapshot of that step (default: the last)")
    one.add_argument("--n_beta", type=number, metavar="X", help="inverse temperature times examples (default: chosen)")
    one.add_argument("--gamma", type=number, metavar="X", help="localisation (default: chosen)")
    one.add_argument("--sampler", default="lm", metavar="NAME", help="the sampler (default: lm)")
    one.add_argument("--preconditioner", default="none", metavar="NAME", help="none or hutchinson (default: none)")
    one.add_argument("--chains", type=whole, default=8, metavar="N", help="chains (default: 8)")
    one.add_argument("--batch_size", type=whole, metavar="N", help="examples per step (default: chosen)")
    one.add_argument("--tolerance", type=number, default=0.05, metavar="X", help="allowed change (default: 0.05)")
    one.add_argument(
        "--budget", type=whole, default=100_000, metavar="N", help="steps of all chains together (default: 100000)"
    )
    one.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: RUN/calibration)")
    own_code(one)
    common(one)


def run(options: Namespace) -> None:
    """Calibrates a checkpoint."""
    from llc_lightning.cli.offline import restored
    from llc_lightning.cli.own import Own
    from llc_lightning.llc.calibrate.calibration import calibrate
    from llc_lightning.llc.calibrate.sweep import sweep, sweep_steps
    from llc_lightning.report.calibration import draw_calibration
    from llc_lightning.report.figures import save

    folder_of_run, at = _place(options)
    snapshot = restored(folder_of_run, at, Own.of(options))
    folder = make_folder(
        options.out or folder_of_run / "calibration"
    )  # before the work, which is lost if there is none
    bars = Bars()
    with bars.task(f"calibrating at step {snapshot.step}", options.budget) as advance:
        found = calibrate(
            snapshot.loss,
            snapshot.params,
            snapshot.data,
            n_beta=options.n_beta,
            gamma=options.gamma,
            sampler=options.sampler,
            preconditioner=options.preconditioner,
            chains=options.chains,
            batch_size="auto" if options.batch_size is None else options.batch_size,
            tolerance=options.tolerance,
            budget=options.budget,
            seed=snapshot.seed,
            trivial_loss=snapshot.trivial_loss,
            done=advance,
        )
    if not math.isfinite(found.record.step_size):
        raise MeasurementError(found.refusal)
    with bars.task("sweeping", sweep_steps(found)) as advance:
        swept = sweep(snapshot.loss, snapshot.params, snapshot.data, found, seed=snapshot.seed, done=advance)
    name = folder / f"step={snapshot.step:08d}"
    picture = save(draw_calibration(found, swept), name.with_suffix(".png"))
    block = llc_block(found, step=snapshot.step)
    block_file = write(name.with_suffix(".yaml"), block)
    said = [swept.sentence, *_beside(found, folder_of_run, snapshot)]
    if options.json:
        sys.stdout.write(_as_json(found, said, [picture, block_file]))
        return
    told = "\n".join([_told(found), *said])
    sys.stdout.write(f"{told}\n{block}wrote {picture}, {block_file}\n")
    then = (
        f"train with -c {quoted(block_file)} behind the configuration, or measure every snapshot of a run: "
        f"{analyze('measure', 'RUN', '--config', block_file, *Own.of(options).words)}"
        if found.accepted
        else "raise --budget or give other settings, as said above; do not use the block as it is"
    )
    sys.stdout.write(f"{following(then)}\n")


def llc_block(found: "Calibration", *, step: int) -> str:
    """Returns the block of a configuration, with a comment on how far to trust it."""
    value = f"LLC {found.record.value:.5g} ± {found.record.stderr:.2g}"
    head = f"# Calibrated at step {step}: {value}, {'accepted' if found.accepted else found.refusal}\nllc:\n"
    options = found.choice.options.items()
    return head + "".join(f"  {name}: {'null' if option is None else option}\n" for name, option in options)


def _place(options: Namespace) -> tuple[Path, int | None]:
    """Returns the run folder and the step that a checkpoint names."""
    path: Path = options.checkpoint
    if path.suffix == ".safetensors" and path.parent.name == "snapshots":
        number = path.stem.removeprefix("step=")
        if not number.isdecimal():
            raise SnapshotError(
                f"{path} is no snapshot; give a file such as {path.parent / 'step=00000300.safetensors'}."
            )
        return path.parent.parent, int(number)
    return path, options.step


def _told(found: "Calibration") -> str:
    record = found.record
    lines = [
        f"LLC {record.value:.5g} ± {record.stderr:.2g} at n_beta {record.n_beta:.5g}, gamma {record.gamma:.3g}, step "
        f"size {record.step_size:.3g} ({record.status}), after {found.steps} of {found.budget} steps",
        *(f"  {'met   ' if check.passed else 'missed'}  {check.said}" for check in found.checks),
        "accepted" if found.accepted else found.refusal,
        *(f"  {sentence}" for sentence in explain(record.status) if sentence not in found.refusal),
    ]
    return "\n".join(lines)


def _beside(found: "Calibration", folder: Path, snapshot: "Snapshot") -> list[str]:
    """Returns how the value goes together with that of the run at the same step and its highest n_beta, if any."""
    from llc_lightning.analysis.resolution import Rung, ladder, reconciled
    from llc_lightning.llc.calibrate.directions import directions
    from llc_lightning.llc.settings import Resolution
    from llc_lightning.results.run import Run

    rows, record = Run.open(folder).measurements(), found.record
    of_run = ladder(rows).get(snapshot.step, []) if len(rows) else []
    if not of_run or not is_ok(record.status):
        return []
    around = directions(snapshot.loss, snapshot.params, snapshot.data, None, seed=snapshot.seed)
    own = Rung(record.value, record.stderr, record.n_beta, record.gamma)
    both = (replace(rung, counted=around.counted(Resolution(rung.n_beta, rung.gamma))) for rung in (own, of_run[-1]))
    return [f"beside the run's own value: {reconciled(*both)}"]


def _as_json(found: "Calibration", said: list[str], written: list[Path]) -> str:
    from llc_lightning.results.schema import decode_details, encode_details

    told = {
        "accepted": found.accepted,
        "refusal": found.refusal,
        "checks": [asdict(check) for check in found.checks],
        "record": found.record.facts(),
        "steps": found.steps,
        "said": said,
        "written": [str(path) for path in written],
    }
    return json.dumps(decode_details(encode_details(told))) + "\n"
