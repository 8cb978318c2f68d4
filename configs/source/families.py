"""What the experiments of a family share: keys as the command line spells them, without ``init_args``."""

from dataclasses import dataclass
from typing import Any

Config = dict[str, Any]

LIKE_SNAPSHOTS = "*when"
"""The cadence of the snapshots."""
AT_END = "llc_lightning.AtEnd"


@dataclass(frozen=True)
class Because:
    """A value with a reason, which its comment ends with."""

    value: Any
    reason: str


@dataclass(frozen=True)
class Family:
    """Experiments alike.

    Args:
        full: What they have in common.
        smoke: What their smoke variants change of it.
        hint: The end of every file's first comment; ``{path}`` stands for the file.
        smoke_hint: That of the smoke variants.
    """

    full: Config
    smoke: Config
    hint: str
    smoke_hint: str = "Less than a minute on 2 cores."


def shared(**values: Any) -> Config:
    """Returns what the model and the data must both be told."""
    return {f"{group}.{key}": value for group in ("model", "data") for key, value in values.items()}


def cadence(n: int, first: int, *, at_start: bool = False) -> Config:
    """Returns when snapshots are kept: at so many steps from the first to the last, spaced by their logarithm."""
    return {"snapshots.when.n": n, "snapshots.when.first": first, "snapshots.when.at_start": at_start}


def both_llcs(**values: Any) -> Config:
    """Returns what holds for ``llc`` and for ``llc_units``."""
    return {f"{key}.{name}": value for key in ("llc", "llc_units") for name, value in values.items()}


_ALL = {
    "budget": Because(
        None,
        "it is there to be measured, and trains too briefly for a tenth of that to hold its LLCs; a long training of "
        "your own may begin with 0.1",
    ),
    "trainer.accelerator": "cpu",
    "trainer.max_steps": -1,
    "trainer.max_epochs": -1,
    "trainer.log_every_n_steps": 25,
    "trainer.num_sanity_val_steps": 0,
    "last.every_n_steps": 1000,
    "snapshots.when": "llc_lightning.LogSpaced",
    **both_llcs(
        when=LIKE_SNAPSHOTS, chains=4, sampler="lm", step_size="auto", step_fraction=0.4, preconditioner="hutchinson"
    ),
    "llc.components": ["all"],
    "llc_units.components": Because(["neurons"], "a neuron moves its incoming row, bias and outgoing column"),
    **both_llcs(replicates=1, at="batch", on_error="raise", share=True, traces=True),
    "ablation.when": LIKE_SNAPSHOTS,
    "ablation.components": ["neurons", "layers"],
    "ablation.methods": ["zero", "mean", "resample"],
    "ablation.tasks": True,
    "ablation.at": "batch",
    "ablation.on_error": "raise",
    "ablation.share": True,
}

CIS = Family(
    full=_ALL
    | cadence(10, 30)
    | shared(active=1.0)
    | {
        "trainer.max_steps": 3000,
        "model": "llc_lightning.models.cis.CISModel",
        "model.width": 32,
        "model.loss_power": 4.0,
        "model.learning_rate": 3.0e-3,
        "model.weight_decay": 0.0,
        "data": "llc_lightning.data.cis.CISData",
        "data.batch_size": 512,
        "data.batches_per_epoch": 500,
        "data.validation_size": 8192,
        "data.analysis_size": 131072,
        "llc.components": ["all", "layers"],
        "llc.n_beta": Because(
            [1000.0, 3000.0, 10000.0], "the excess loss llc / n_beta stays small, so that it is local"
        ),
        "llc.gamma": 1000.0,
        "llc.burn_in": 60,
        "llc.draws": 100,
        "llc.batch_size": 256,
        "llc.curvature_examples": 2048,
        "llc_units.n_beta": Because(
            [100.0, 300.0, 1000.0], "the rank correlation with ablation depends on it, and is quoted at no single one"
        ),
        "llc_units.gamma": 10.0,
        "llc_units.burn_in": 150,
        "llc_units.draws": 120,
        "llc_units.batch_size": 64,
        "llc_units.preconditioner": "none",
        "llc_units.curvature_examples": Because(4096, "a neuron moves so little that fewer make it look indefinite"),
        "llc_units.replicates": 2,
        "ablation.methods": ["zero", "mean", "resample", "noise"],
        "ablation.examples": 16384,
    },
    smoke=cadence(3, 10, at_start=True)
    | shared(size=8)
    | both_llcs(draws=40, burn_in=30, curvature_examples="auto")
    | {
        "trainer.max_steps": 300,
        "trainer.log_every_n_steps": 10,
        "model.width": 8,
        "data.batches_per_epoch": 100,
        "data.validation_size": 2048,
        "data.analysis_size": 8192,
        "llc.components": ["all"],
        "llc.n_beta": 1000.0,
        "llc.gamma": 100.0,
        "llc_units.components": ["neurons", "layers"],
        "llc_units.n_beta": [30.0, 300.0],
        "llc_units.batch_size": 128,
        "ablation.examples": 4096,
    },
    hint="`python train.py fit -c {path} --print_config` shows every key there is.",
    smoke_hint="About half a minute on 2 cores.",
)

SAMPLED_ONLY_IF_ASKED: Config = {
    "llc.when": Because(None, "a cadence switches it on"),
    "llc_units.when": Because(None, "a cadence switches it on"),
    "ablation.when": AT_END,
    **both_llcs(draws=200, curvature_examples="auto"),
    **both_llcs(preconditioner=Because("hutchinson", "without it the chains of this net do not reach equilibrium")),
    "llc.components": ["all"],
    "llc.n_beta": 10000.0,
    "llc.burn_in": 100,
    "llc.batch_size": 512,
    "llc_units.components": ["neurons", "layers"],
    "llc_units.burn_in": Because(200, "this net settles more slowly than that of configs/cis.yaml"),
    "llc_units.batch_size": 256,
    "llc_units.step_fraction": 0.2,
    "llc_units.replicates": 1,
}
"""A control's LLC: off, with settings that suit a net under a squared error when it is switched on."""

IMAGES = Family(
    full=_ALL
    | cadence(6, 100)
    | shared(layout="mix20", mini=False)
    | {
        "trainer.max_epochs": 3,
        "trainer.log_every_n_steps": 50,
        "model": "llc_lightning.models.image.ImageModel",
        "model.learning_rate": 4.0e-3,
        "model.weight_decay": 0.0,
        "data": "llc_lightning.data.images.MNISTFashionData",
        "data.source": "auto",
        "data.folder": None,
        "data.batch_size": 128,
        "data.train_size": None,
        "data.validation_size": None,
        "data.analysis_size": 10000,
        "llc.components": ["all", "layers"],
        "llc.n_beta": 300.0,
        "llc.gamma": Because(1000.0, "with less, chains leave the weights that they are to measure around"),
        "llc.burn_in": 60,
        "llc.draws": 100,
        "llc.batch_size": 256,
        "llc.step_fraction": 0.6,
        "llc.curvature_examples": 1024,
        "llc_units.when": Because(AT_END, "it takes several times as long as everything else"),
        "llc_units.n_beta": Because([100.0, 300.0], "the rank correlation with ablation depends on it"),
        "llc_units.gamma": 100.0,
        "llc_units.burn_in": 40,
        "llc_units.draws": 60,
        "llc_units.batch_size": 64,
        "llc_units.curvature_examples": 2048,
        "ablation.examples": 4096,
    },
    smoke=cadence(3, 10, at_start=True)
    | shared(mini=True)
    | both_llcs(draws=40, burn_in=20, curvature_examples="auto", step_fraction=0.4)
    | {
        "trainer.log_every_n_steps": 10,
        "data.source": "embedded",
        "data.train_size": 5000,
        "data.analysis_size": 4096,
        "llc.components": ["all"],
        "llc.gamma": 300.0,
        "llc.batch_size": 128,
        "llc_units.components": ["neurons", "layers"],
        "llc_units.gamma": 10.0,
        "llc_units.preconditioner": "none",
        "ablation.methods": ["zero", "mean"],
        "ablation.examples": 2048,
    },
    hint="LLC_LIGHTNING_DATA=FOLDER python train.py fit -c {path}",
    smoke_hint="It trains on two drawn tasks. Under a minute on 2 cores.",
)

MLP: Config = {"model.architecture": "mlp", "model.width": 64, "model.depth": 2}
MLP_SMOKE: Config = {"model.width": 16}

SEQUENCES = Family(
    full=_ALL
    | cadence(12, 20)
    | both_llcs(step_fraction=0.6, burn_in=40, draws=60, batch_size=32)
    | {
        "trainer.max_steps": 1000,
        "model": "llc_lightning.models.transformer.TransformerModel",
        "model.weight_decay": 0.01,
        "data": "llc_lightning.data.sequence_data.SequenceData",
        "data.batch_size": 128,
        "data.validation_size": 512,
        "data.analysis_size": 8192,
        "llc.n_beta": 300.0,
        "llc.gamma": 3000.0,
        "llc.curvature_examples": 128,
        "llc_units.components": ["heads"],
        "llc_units.n_beta": 300.0,
        "llc_units.gamma": 300.0,
        "llc_units.curvature_examples": 64,
        "llc_units.replicates": 2,
        "ablation.components": ["heads", "layers"],
        "ablation.examples": 1024,
    },
    smoke=cadence(2, 5)
    | both_llcs(chains=2, draws=8, burn_in=5, batch_size=16, curvature_examples=32, step_fraction=0.4, n_beta=100.0)
    | {
        "trainer.max_steps": 20,
        "trainer.log_every_n_steps": 5,
        "data.batch_size": 32,
        "data.validation_size": 512,
        "data.analysis_size": 256,
        "llc.gamma": 100.0,
        "llc_units.when": AT_END,
        "llc_units.gamma": 10.0,
        "llc_units.replicates": 1,
        "ablation.examples": 64,
    },
    hint="Most of its time goes into measuring; train alone with -c configs/overlays/no_measuring.yaml. "
    "`python train.py fit -c {path} --print_config` shows every key there is.",
)

PLANTED = Family(
    full=_ALL
    | shared(direction="backup")
    | {
        "trainer.max_steps": Because(1, "the net is at its minimum, and a step leaves it there"),
        "trainer.log_every_n_steps": 1,
        "snapshots.when": AT_END,
        "model": "llc_lightning.models.direction_model.DirectionModel",
        "data": "llc_lightning.data.direction_data.DirectionData",
        "data.batch_size": 64,
        "data.analysis_size": 1024,
        **both_llcs(when=AT_END),
        "ablation.when": AT_END,
        **both_llcs(n_beta=[100.0, 3000.0], gamma=100.0, chains=8, draws=300, burn_in=200, batch_size=64),
        **both_llcs(preconditioner="none", curvature_examples="auto"),
        "llc_units.components": Because(
            ["neurons", "neurons:in", "neurons:out"], "one side alone is exactly 0 where nobody reads, or nothing fires"
        ),
        "ablation.components": Because(["neurons", "pairs:neurons"], "much shows only in two together"),
        "ablation.methods": ["zero", "mean", "resample", "optimal"],
        "ablation.examples": 1024,
    },
    smoke=both_llcs(draws=40, burn_in=20, chains=4) | {"data.analysis_size": 256, "ablation.examples": 256},
    hint="`python train.py fit -c {path} --model.init_args.direction decoy --data.init_args.direction decoy` measures "
    "another; docs/zoo.md has them all. `python -m benchmarks directions` checks what each must say.",
)
