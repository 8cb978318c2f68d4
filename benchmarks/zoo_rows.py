"""What is in the zoo: every training, and the figures that are expected of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, nan

from llc_lightning.analysis import table
from llc_lightning.analysis.cis import Verdict, superposition_verdict
from llc_lightning.report.events import read_events
from llc_lightning.results.run import Run
from llc_lightning.runtime.errors import MeasurementError


@dataclass(frozen=True)
class Metric:
    """A number that a finished run has; NaN where it lacks it."""

    name: str
    of: Callable[[Run], float]

    def __truediv__(self, other: Metric) -> Metric:
        """Returns the ratio of two numbers."""
        return Metric(f"{self.name} / {other.name}", lambda run: self.of(run) / other.of(run))


def stored(quantity: str, *, method: str = "", loss: str = "train") -> Metric:
    """Returns the last ok value of a measured quantity of the whole model."""

    def of(run: Run) -> float:
        rows = table.select(run.measurements(), quantity=quantity, component="", method=method, loss=loss)
        good = rows.loc[table.ok(rows)].sort_values(["step", "n_examples"], kind="stable")
        return float(table.numbers(good, "value")[-1]) if len(good) else nan

    told = [name for name in (method, "" if loss == "train" else loss) if name]
    return Metric(f"{quantity} ({', '.join(told)})" if told else quantity, of)


def logged(tag: str, best: Callable[[Sequence[float]], float] | None = None) -> Metric:
    """Returns the last logged value under a tag such as ``val/loss``, or the best of all: ``logged(tag, max)``."""

    def of(run: Run) -> float:
        curve = read_events(run.folder).metrics.get(tag)
        if curve is None:
            return nan
        values = [float(value) for value in curve["value"]]
        return best(values) if best else values[-1]

    return Metric(f"{getattr(best, '__name__', 'best')} of {tag}" if best else tag, of)


def circuit_margin(heads: Sequence[str]) -> Metric:
    """Returns how many times the least effect of the true heads exceeds the largest of all others, by resampling.

    Args:
        heads: The true heads as the configuration names them, such as ``0.1``.
    """
    true = {f"net.blocks.{name.replace('.', '.attn.hook_z[')}]" for name in heads}

    def of(run: Run) -> float:
        rows = table.select(run.measurements(), quantity="ablation_effect", method="resample", loss="train")
        rows = table.select(rows, kind="head", step=int(rows["step"].max()))
        effects = dict(zip(table.texts(rows, "component"), table.numbers(rows, "value"), strict=True))
        if not true < effects.keys():
            raise MeasurementError(f"of the heads {sorted(true)} and others only {sorted(effects)} were ablated")
        others = max(abs(effect) for head, effect in effects.items() if head not in true)
        return float(min(effects[head] for head in true) / others) if others else inf

    return Metric("true heads' least resample effect / largest other", of)


def judged(name: str, of: Callable[[Verdict], float]) -> Metric:
    """Returns a number of a run's verdict."""

    def found(run: Run) -> float:
        verdict = superposition_verdict(run.measurements())
        return nan if verdict is None else of(verdict)

    return Metric(name, found)


def loss_ratio(power: int) -> Metric:
    """Returns the loss under a power of the error as a share of the best baseline's under the same power."""
    unit = f"error^{power} / q"
    return judged(f"{unit} / best baseline", lambda found: next(
        (one.ratio.value for one in found.losses if one.unit == unit), nan))  # fmt: skip


CIS = judged("computes in superposition", lambda found: float(found.superposition))
"""The verdict: 1 for yes, 0 for no. No exponent enters it."""
FOURTH, SQUARE = loss_ratio(4), loss_ratio(2)
BEYOND = judged(
    "circuits solved - served without sharing", lambda found: found.circuits_solved.value - found.circuits_dedicated
)


@dataclass(frozen=True)
class Expected:
    """Bounds that every seed's value of a metric is expected to keep."""

    metric: Metric
    low: float = -inf
    high: float = inf

    def __str__(self) -> str:
        """Returns the bounds as tables write them."""
        if self.low == self.high:
            return f"{self.low:g}"
        if self.low == -inf:
            return f"<= {self.high:g}"
        return f">= {self.low:g}" if self.high == inf else f"{self.low:g} .. {self.high:g}"

    def kept(self, value: float) -> bool:
        """Says whether a value is as expected; NaN never is."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Training:
    """A command that trains one net of the zoo, and what is expected of it."""

    name: str
    config: str
    """The configuration's name in configs/."""
    expected: tuple[Expected, ...]
    overrides: tuple[str, ...] = ()
    """Further arguments of the command; DATA in them stands for the folder of real data."""
    measured: tuple[str, ...] = ()
    """Arguments that say what to measure of the trained net, on top of what is trained; by default nothing."""
    data: tuple[str, ...] = ()
    """Files below the folder of real data that it needs."""


def _set(**keys: object) -> tuple[str, ...]:
    """Returns arguments of the command: ``_set(model__width=3)`` sets ``model.init_args.width``."""
    return tuple(
        word
        for key, value in keys.items()
        for word in (f"--{key.replace('__', '.init_args.' if key.startswith(('model', 'data')) else '.')}", f"{value}")
    )


AT_END = ("-c", "configs/overlays/at_end.yaml")
"""Ablate the trained net's neurons by their means, which the verdicts rest on."""
MANY = (*AT_END, *_set(ablation__examples=65536))
HEADS = (*AT_END, *_set(ablation__components="[heads]", ablation__methods="[resample]", ablation__examples=2048))
IMAGES = ("mnist/train-images-idx3-ubyte.gz", "fashion_mnist/train-images-idx3-ubyte.gz")
SHAKESPEARE = "text/tinyshakespeare.txt"


def _cis(name: str, config: str, *expected: Expected, measured: tuple[str, ...] = AT_END, **keys: object) -> Training:
    return Training(name, config, expected, overrides=_set(**keys), measured=measured)


def _images(name: str, config: str, mnist: float, fashion: float, **keys: object) -> Training:
    bounds = (
        Expected(logged("val/accuracy_mnist"), low=mnist),
        Expected(logged("val/accuracy_fashion"), low=fashion),
    )
    return Training(name, config, bounds, overrides=_set(**keys), data=IMAGES)


def _sequences(name: str, config: str, *expected: Expected, **keys: object) -> Training:
    return Training(name, config, expected, overrides=_set(**keys))


def _strict(name: str, *expected: Expected, heads: Sequence[str]) -> Training:
    return Training(name, name, (*expected, Expected(circuit_margin(heads), low=50)), measured=HEADS)


LOSS, ACCURACY = logged("val/loss"), logged("val/accuracy")
# More of the text to validate on, less often: the figure is told to 0.01 nats.
LONG = {"data__validation_size": 2048, "data__batches_per_epoch": 500}

# fmt: off
ZOO: tuple[Training, ...] = (
    _cis("cis_xor", "cis", Expected(stored("loss"), high=0.16), Expected(stored("circuits_solved"), 32, 32),
         Expected(BEYOND, 16, 16), Expected(stored("sign_accuracy"), low=0.98), Expected(CIS, 1, 1),
         Expected(FOURTH, high=0.35), Expected(SQUARE, 1.3, 1.7)),
    _cis("cis_xor_mse", "cis_mse", Expected(stored("loss"), 0.50, 0.55), Expected(stored("circuits_solved"), 18, 24),
         Expected(BEYOND, 2, 8), Expected(stored("sign_accuracy"), 0.82, 0.90), Expected(CIS, 1, 1),
         Expected(FOURTH, 0.65, 0.85), Expected(SQUARE, 1.0, 1.15)),
    _cis("cis_emb", "cis_emb", Expected(stored("loss"), high=0.12), Expected(stored("sign_accuracy"), low=0.99),
         Expected(CIS, 1, 1)),
    _cis("cis_uprod", "cis_uprod", Expected(stored("loss"), high=0.25), Expected(CIS, 1, 1)),
    _cis("cis_circ", "cis_circ", Expected(stored("loss"), high=0.15), Expected(SQUARE, high=0.5)),
    _cis("cis_circ_l4", "cis_circ", Expected(CIS, 1, 1), model__loss_power=4),
    _cis("cis_abs", "cis_abs", Expected(SQUARE, high=0.2), Expected(CIS, 1, 1)),
    _cis("cis_relu", "cis_relu", Expected(stored("loss") / stored("baseline_loss", method="dedicated"), 0.96, 1.04),
         Expected(CIS, 0, 0), measured=MANY),
    _cis("cis_relu_l4", "cis_relu", Expected(FOURTH, high=0.2), model__loss_power=4),
    _images("mnist_fashion", "mnist_fashion", 0.95, 0.85),
    _images("mnist_fashion_128", "mnist_fashion", 0.97, 0.865, model__width=128, trainer__max_epochs=12),
    _images("mnist_fashion_super", "mnist_fashion_super", 0.86, 0.79),
    _images("mnist_fashion_concat", "mnist_fashion_concat", 0.91, 0.83),
    _images("mnist_fashion_share10", "mnist_fashion", 0.95, 0.84, model__layout="share10", data__layout="share10"),
    _images("mnist_fashion_cnn", "mnist_fashion_cnn", 0.95, 0.85),
    _images("mnist_fashion_mini", "mnist_fashion_mini", 0.89, 0.84),
    _sequences("induction", "induction", Expected(LOSS, high=0.1)),
    _sequences("induction_no_norm", "induction", Expected(LOSS, high=0.4), model__norm="none"),
    _strict("induction_strict", Expected(LOSS, high=0.1), heads=("0.1", "1.2")),
    _sequences("ioi", "ioi", Expected(ACCURACY, low=0.99)),
    _strict("ioi_strict", Expected(ACCURACY, low=0.99), heads=("0.0", "0.3", "1.1")),
    _sequences("greater_than", "greater_than", Expected(LOSS / logged("baseline/best"), high=1.02),
               Expected(logged("val/probability_mass"), low=0.99)),
    _sequences("modular_addition", "modular_addition", Expected(ACCURACY, low=0.99),
               Expected(logged("val/fourier_share"), low=0.85)),
    _sequences("modular_mlp", "modular_mlp", Expected(ACCURACY, low=0.99)),
    _sequences("icl", "icl", Expected(LOSS / logged("baseline/ridge"), high=1.15)),
    _sequences("text", "shakespeare", Expected(LOSS / logged("baseline/bigram"), high=0.85), **LONG),
    Training("shakespeare", "shakespeare", (Expected(LOSS, high=1.90),), data=(SHAKESPEARE,), overrides=_set(
        data__task__source=f"DATA/{SHAKESPEARE}", model__d_vocab=65, **LONG)),
    # It is not trained; its net is at a minimum as it is made.
    Training("planted", "planted", (Expected(stored("loss"), high=1e-9),), measured=AT_END),
)
# fmt: on
"""Every training of the zoo."""
