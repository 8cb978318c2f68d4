"""The table of experiments: what each has that its family has not. A new one is a new entry, then `make configs`."""

from dataclasses import dataclass, field

from configs.source.families import (
    CIS,
    IMAGES,
    MLP,
    MLP_SMOKE,
    PLANTED,
    SAMPLED_ONLY_IF_ASKED,
    SEQUENCES,
    Because,
    Config,
    Family,
    cadence,
    shared,
)


@dataclass(frozen=True)
class Experiment:
    """Makes ``configs/<name>.yaml`` and ``configs/smoke/<name>.yaml``.

    Args:
        family: What it begins with.
        about: What it is, in the file's first comment.
        both: What the experiment and its smoke variant change.
        full: What the experiment alone changes.
        smoke: What its smoke variant alone changes.
    """

    family: Family
    about: str
    both: Config = field(default_factory=Config)
    full: Config = field(default_factory=Config)
    smoke: Config = field(default_factory=Config)

    def config(self, name: str, *, smoke: bool) -> Config:
        """Returns the keys of one of its two files."""
        own = self.family.smoke | self.both | self.smoke if smoke else self.both | self.full
        return {"experiment": f"smoke_{name}" if smoke else name, "seed_everything": 0} | self.family.full | own


TRANSFORMER: Config = {"model.n_layers": 2, "model.n_heads": 4, "model.d_model": 64, "model.norm": "layer"}
SMALLER: Config = {"model.n_heads": 2, "model.d_model": 48}
INDUCTION: Config = {
    "model.d_vocab": 32,
    "model.n_ctx": 32,
    "model.positions": "learned",
    "data.task": "llc_lightning.data.sequences.induction.Induction",
    "data.task.tokens": 32,
    "data.task.positions": 32,
    "data.task.shortest": 4,
    "data.task.longest": 16,
}
IOI: Config = {
    "model.d_vocab": 25,
    "model.n_ctx": 12,
    "model.learning_rate": 2.0e-3,
    "data.task": "llc_lightning.data.sequences.ioi.IndirectObject",
    "data.task.names": 12,
    "data.task.fillers": 12,
    "data.task.positions": 12,
}
MODULAR: Config = {
    "model.d_vocab": 54,
    "model.n_ctx": 3,
    "data.task": "llc_lightning.data.sequences.modular.ModularAddition",
    "data.task.modulus": 53,
    "data.task.train_share": 0.5,
}
MODULAR_FULL: Config = {
    "trainer.check_val_every_n_epoch": Because(5, "an epoch is all of the training examples"),
    "data.validation_size": 256,
    "data.analysis_size": 1404,
    "llc.n_beta": 100.0,
    "llc.batch_size": 64,
    "llc.curvature_examples": 256,
    "llc_units.batch_size": 64,
    "llc_units.curvature_examples": 256,
}
MODULAR_SMOKE: Config = {"trainer.check_val_every_n_epoch": 1, "data.batch_size": 256}
STRICT: Config = {"trainer.gradient_clip_val": 1.0, "model.warmup_steps": 100}
SMOKE: Config = {
    "data.batches_per_epoch": 10,
    "llc_units.components": ["net.blocks.1.attn.hook_z[1]", "net.blocks.1.attn.hook_z[2]"],
}
TWO_HEADS_OF_ONE_LAYER: Config = {
    "llc_units.components": ["net.blocks.0.attn.hook_z[0]", "net.blocks.0.attn.hook_z[1]"],
}

EXPERIMENTS = {
    "cis": Experiment(
        CIS,
        "Computation in superposition: 32 xor circuits in 32 neurons, trained with an L4 loss, measured while "
        "it trains. About 3 minutes on 2 cores as two processes, most of it measuring.",
        both=shared(task="xor"),
        full=shared(size=32) | cadence(15, 30),
    ),
    "cis_mse": Experiment(
        CIS,
        "The matched control of configs/cis.yaml: the same data and size, squared error instead of L4. It largely does "
        "not compute in superposition. Its effects and accuracies are measured when training ends; give llc or "
        "llc_units a cadence to sample it. A few seconds.",
        both=shared(task="xor") | {"model.loss_power": 2.0},
        full=shared(size=32) | cadence(15, 30) | SAMPLED_ONLY_IF_ASKED,
    ),
    "cis_uprod": Experiment(
        CIS,
        "All 66 products of two of 12 ternary inputs in 32 neurons, L4 loss: every input takes part in 11 circuits. "
        "5 seconds without the measuring, about 6 minutes on 2 cores with it.",
        both=shared(task="uprod"),
        full=shared(size=12),
        smoke=shared(size=5),
    ),
    "cis_circ": Experiment(
        CIS,
        "Circuits in superposition: 12 random 2-4-2 networks in 32 neurons, squared error. Apart they would need 48. "
        "Which circuit is active is known in every example, so that found circuits can be compared with the true ones. "
        "30 seconds without the measuring, about 6 minutes on 2 cores with it.",
        both=shared(task="circ") | {"model.loss_power": 2.0},
        full=shared(size=12)
        | {
            "trainer.max_steps": 10000,
            "model.learning_rate": 1.0e-2,
            "llc.n_beta": [1000.0, 3000.0],
            "llc.burn_in": Because(300, "under a squared error chains settle more slowly than under an L4 loss"),
            "llc.draws": 500,
            "llc_units.n_beta": [30.0, 100.0, 300.0],
            "llc_units.gamma": Because(100.0, "chains do not mix at 10"),
            "llc_units.burn_in": 300,
            "llc_units.draws": 500,
            "llc_units.batch_size": 128,
            "llc_units.preconditioner": "hutchinson",
            "llc_units.curvature_examples": "auto",
        },
        smoke=shared(size=4),
    ),
    "cis_abs": Experiment(
        CIS,
        "Absolute values of 100 sparse numbers in 50 neurons, L4 loss. Apart each takes two neurons, or one "
        "beside a free linear map. 7 seconds without the measuring, about 6 minutes on 2 cores with it.",
        both=shared(task="abs"),
        full=shared(size=100)
        | {
            "model.width": 50,
            "llc.n_beta": Because([3000.0, 10000.0], "always answering 0 has the loss 1/5, not 1 as in the xor task"),
            "llc_units.n_beta": [300.0, 1000.0, 3000.0],
        },
    ),
    "cis_relu": Experiment(
        CIS,
        "The negative control: 100 sparse numbers through a ReLU in 50 neurons, squared error. Half of the circuits "
        "computed and half ignored is no better than an affine map, so that no net of this size may be said to "
        "compute in superposition. A few seconds.",
        both=shared(task="relu") | {"model.loss_power": 2.0},
        full=shared(size=100) | cadence(15, 30, at_start=True) | SAMPLED_ONLY_IF_ASKED | {"model.width": 50},
    ),
    "cis_emb": Experiment(
        CIS,
        "Computation in superposition on inputs that are in superposition themselves: 64 xor circuits in 64 "
        "neurons, whose 128 inputs a fixed random map embeds into 64 dimensions. L4 loss. "
        "10 seconds without the measuring, about 10 minutes on 2 cores with it.",
        both=shared(task="xor"),
        full=shared(size=64) | {"trainer.max_steps": 4000, "model.width": 64, "model.embedding": 64},
        smoke={"model.embedding": 8},
    ),
    "mnist_fashion": Experiment(
        IMAGES,
        "MNIST and Fashion-MNIST in one net of 2 x 64 neurons, with 20 classes, measured while it trains. "
        "Without the files and the hub it trains on two drawn tasks instead, and says so.",
        both=MLP,
        smoke=MLP_SMOKE,
    ),
    "mnist_fashion_super": Experiment(
        IMAGES,
        "MNIST and Fashion-MNIST superimposed: each example is the mean of two images, read by two heads, so that both "
        "tasks are computed in one pass from overlapping pixels.",
        both=MLP | shared(layout="super"),
        full={"data.batch_size": 64},
        smoke=MLP_SMOKE,
    ),
    "mnist_fashion_concat": Experiment(
        IMAGES,
        "MNIST and Fashion-MNIST side by side, with two heads: the control, as the first layer can keep the "
        "tasks apart.",
        both=MLP | shared(layout="concat"),
        full={"data.batch_size": 64},
        smoke=MLP_SMOKE,
    ),
    "mnist_fashion_mini": Experiment(
        IMAGES,
        "MNIST and Fashion-MNIST in small: images of 14 x 14 in one net of 2 x 48 neurons with 20 classes. It "
        "trains in seconds. Without the files and the hub it trains on two drawn tasks instead, and says so.",
        both=MLP | shared(mini=True),
        full={"model.width": 48},
        smoke=MLP_SMOKE,
    ),
    "mnist_fashion_cnn": Experiment(
        IMAGES,
        "MNIST and Fashion-MNIST in one convolutional net of 8 and 16 channels, with 20 classes, measured while "
        "it trains.",
        both={"model.architecture": "cnn", "ablation.components": ["channels", "layers"]},
        full={
            "model.channels": [8, 16],
            "llc_units.components": Because(
                ["channels"], "a channel moves its kernels, bias and the weights that read it"
            ),
        },
        smoke={
            "model.channels": [4, 8],
            "data.train_size": 2000,
            "data.analysis_size": 2048,
            "llc_units.components": ["channels", "layers"],
        },
    ),
    "induction": Experiment(
        SEQUENCES,
        "Induction: repeated blocks of random period, in an attention-only transformer of 2 layers with 2 heads "
        "each. A head that attends to the token before and one that finds the last token earlier form together "
        "within a few hundred steps.",
        both=TRANSFORMER | SMALLER | INDUCTION | {"model.learning_rate": 1.0e-3},
        full={"data.batch_size": 64, "data.batches_per_epoch": 50, "llc.gamma": 1000.0},
        smoke=SMOKE | {"llc_units.components": ["net.blocks.1.attn.hook_z[*]"]},
    ),
    "induction_strict": Experiment(
        SEQUENCES,
        "Induction with its circuit enforced: the net must work whatever the heads outside of it say (strict "
        "interchange), so that the true heads are known at every step.",
        both=TRANSFORMER
        | INDUCTION
        | STRICT
        | {
            "model.learning_rate": 2.0e-3,
            "model.circuit": {"0.1": "previous-token", "1.2": "induction"},
        },
        full=cadence(10, 30) | {"trainer.max_steps": 1500, "data.batch_size": 64, "data.batches_per_epoch": 100},
        smoke=SMOKE,
    ),
    "ioi": Experiment(
        SEQUENCES,
        "Indirect objects: of two names one comes again, and the other is asked for at the end; attention "
        "alone, 2 layers of 2 heads.",
        both=TRANSFORMER | SMALLER | IOI,
        full={"trainer.max_steps": 600, "data.batches_per_epoch": 30},
        smoke=SMOKE | {"llc_units.components": ["net.blocks.1.attn.hook_z[*]"]},
    ),
    "ioi_strict": Experiment(
        SEQUENCES,
        "Indirect objects with their circuit enforced: the net must work whatever the heads outside of it say (strict "
        "interchange), so that the true heads are known at every step.",
        both=TRANSFORMER
        | IOI
        | STRICT
        | {
            "model.betas": [0.9, 0.98],
            "model.circuit": {"0.0": "subject-finder", "0.3": "subject-finder", "1.1": "name-mover"},
        },
        full={"data.batches_per_epoch": 100},
        smoke=SMOKE,
    ),
    "greater_than": Experiment(
        SEQUENCES,
        'Greater-than: after "the war lasted from the year 1732 to the year 17" any later year is as likely; '
        "one layer of 4 heads and an MLP.",
        both=TRANSFORMER
        | {
            "model.d_vocab": 39,
            "model.n_ctx": 5,
            "model.n_layers": 1,
            "model.d_mlp": 128,
            "model.act": "relu",
            "model.learning_rate": 5.0e-3,
            "data.task": "llc_lightning.data.sequences.greater_than.GreaterThan",
            "data.task.years": 20,
            "data.task.centuries": 10,
            "data.task.nouns": 8,
        },
        full={"data.batches_per_epoch": 100, "llc.gamma": 1000.0, "llc_units.gamma": 100.0},
        smoke=SMOKE | TWO_HEADS_OF_ONE_LAYER,
    ),
    "modular_addition": Experiment(
        SEQUENCES,
        "Modular addition in a transformer of one layer: it memorises first and generalises later (grokking).",
        both=TRANSFORMER
        | MODULAR
        | {
            "model.n_layers": 1,
            "model.d_mlp": 128,
            "model.act": "relu",
            "model.norm": "none",
            "model.learning_rate": 5.0e-3,
            "model.weight_decay": 1.0,
            "model.betas": [0.9, 0.98],
        },
        full=MODULAR_FULL | {"trainer.max_steps": 1500, "data.batch_size": 256, "llc_units.n_beta": 100.0},
        smoke=MODULAR_SMOKE | TWO_HEADS_OF_ONE_LAYER,
    ),
    "modular_mlp": Experiment(
        SEQUENCES,
        "Modular addition in one hidden layer over embedded numbers, the smallest net here that groks. It trains in "
        "seconds.",
        both=MODULAR
        | {
            "model": "llc_lightning.models.token_mlp.TokenMLPModel",
            "model.d_embed": 12,
            "model.width": 48,
            "model.learning_rate": 1.0e-2,
            "model.weight_decay": 0.5,
            "llc_units.components": ["neurons"],
            "ablation.components": ["neurons", "layers"],
        },
        full=MODULAR_FULL
        | {
            "trainer.max_steps": 6000,
            "llc.gamma": 100.0,
            "llc_units.n_beta": [30.0, 100.0],
            "llc_units.gamma": 10.0,
        },
        smoke=MODULAR_SMOKE,
    ),
    "icl": Experiment(
        SEQUENCES,
        "In-context linear regression: each sequence has weights of its own, to be inferred from its pairs; ridge "
        "regression is the best that can be done, and is logged beside the loss.",
        both=TRANSFORMER
        | {
            "model.d_vocab": 1,
            "model.n_ctx": 16,
            "model.d_model": 32,
            "model.d_mlp": 64,
            "model.act": "relu",
            "model.d_input": 3,
            "model.learning_rate": 3.0e-3,
            "model.weight_decay": 0.0,
            "data.task": "llc_lightning.data.sequences.regression.LinearRegression",
            "data.task.dimensions": 2,
            "data.task.pairs": 8,
            "data.task.noise_variance": 0.125,
        },
        full=cadence(10, 30)
        | {
            "trainer.max_steps": 3000,
            "data.batch_size": 64,
            "data.batches_per_epoch": 150,
            "data.validation_size": 1024,
            "llc.gamma": 5000.0,
        },
        smoke=SMOKE,
    ),
    "planted": Experiment(
        PLANTED,
        "A net by construction, of few neurons of which it is known what each score must say: one of the directions in "
        "which LLC and ablation disagree, from self-repair to a dead neuron with large weights. It is not trained.",
    ),
    "shakespeare": Experiment(
        SEQUENCES,
        "A language model of characters. `--data.init_args.task.init_args.source tinyshakespeare.txt` trains on "
        "Shakespeare, from the file that github.com/karpathy/char-rnn has as data/tinyshakespeare/input.txt; "
        "without it, on the source of Python's standard library.",
        both=TRANSFORMER
        | {
            "model.d_vocab": 97,
            "model.act": "relu",
            "model.learning_rate": 3.0e-3,
            "data.task": "llc_lightning.data.sequences.text.Text",
            "data.task.source": "stdlib",
            "data.task.validation_share": 0.1,
        },
        full=cadence(6, 50)
        | {
            "trainer.max_steps": 1500,
            "model.n_ctx": 64,
            "model.d_model": 64,
            "model.d_mlp": 256,
            "data.task.positions": 64,
            "data.batch_size": 32,
            "data.batches_per_epoch": 50,
            "data.validation_size": 512,
            "data.analysis_size": 2048,
            "llc.curvature_examples": 64,
            "llc_units.gamma": 1000.0,
            "ablation.examples": 256,
        },
        smoke=SMOKE
        | {
            "model.n_ctx": 16,
            "model.d_model": 16,
            "model.d_mlp": 32,
            "data.task.positions": 16,
        },
    ),
}
