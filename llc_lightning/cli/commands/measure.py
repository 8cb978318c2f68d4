"""``analyze.py measure``: measures the snapshots of a run."""

from argparse import Namespace
from pathlib import Path

from llc_lightning.cli.console import Bars, analyze, end
from llc_lightning.cli.options import Options, common, own_code, run_folder, step, whole

DOES = "Measure the snapshots of a run again or more, by the run's own settings or others."


def add_options(one: Options) -> None:
    """Adds the command's options."""
    run_folder(one)
    one.add_argument("--steps", nargs="+", type=step, metavar="STEP", help="snapshots to measure (default: all)")
    one.add_argument("--only", nargs="+", metavar="KEY", help="such as llc, llc_units, ablation (default: all)")
    one.add_argument("--config", type=Path, metavar="FILE", help="YAML laid over the run's settings, key by key")
    one.add_argument(
        "--on", type=Path, metavar="FILE", help="watch the examples of this file (torch.save), by the key posterior"
    )
    own_code(one)
    one.add_argument("--again", action="store_true", help="also measure what is measured already")
    one.add_argument("--follow", action="store_true", help="go on until the training has ended")
    one.add_argument("--devices", type=whole, default=1, metavar="N", help="processes of this host that share the work")
    one.add_argument("--nodes", type=whole, default=1, metavar="N", help="hosts, started by torchrun or srun")
    one.add_argument(
        "--accelerator", default="cpu", choices=["cpu", "cuda", "auto"], help="what computes (default: cpu)"
    )
    one.add_argument("--out", type=Path, metavar="RUN2", help="write to this folder instead of the run's own")
    common(one)


def run(options: Namespace) -> None:
    """Measures snapshots."""
    from llc_lightning.cli.launch import launched
    from llc_lightning.cli.offline import measure_run
    from llc_lightning.cli.own import Own

    with launched(options.accelerator, options.devices, options.nodes) as fabric:
        is_first = fabric is None or fabric.is_global_zero
        written = measure_run(
            options.run,
            steps=options.steps,
            only=options.only,
            config=options.config,
            again=options.again,
            out=options.out,
            progress=Bars() if is_first else None,
            own=Own.of(options),
            follow=options.follow,
            fabric=fabric,
            on=options.on,
        )
        if is_first:
            end(options, written, analyze("report", options.out or options.run))
