"""What a user may get wrong, and what is said; test_bad_input.py runs it where no annotation is checked.

Prints a JSON object: the name of each case -> the type of what was raised and its message, or what came out.
"""

import json
import sys
from bisect import bisect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning import ablation_effects
from llc_lightning.ablation.engine.base import METHODS
from llc_lightning.ablation.methods.noise import Noise
from llc_lightning.ablation.methods.zero import Zero
from llc_lightning.ablation.metrics import METRICS, Own
from llc_lightning.ablation.procedures.patching import patching
from llc_lightning.ablation.procedures.path_patching import path_patching
from llc_lightning.ablation.procedures.scrubbing import Node, scrubbing
from llc_lightning.ablation.procedures.tracing import tracing
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.runtime.errors import unknown
from llc_lightning.runtime.kinds import KINDS

N = 90
X = torch.randn(N, 4, generator=torch.Generator().manual_seed(0))
WORDS = sorted({entry.facts.word for _, entry in KINDS.items()} - {""})
Y, WRONG = torch.arange(N) % 3, (torch.arange(N) + 1) % 3
DATA = X, Y, WRONG


class Net(nn.Module):
    """A classifier; ``shown`` shows an activation that nothing reads."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.one, self.two, self.shown, self.several = nn.Linear(4, 5), nn.Linear(5, 3), nn.Identity(), Several()
        self.broken = broken

    def logits(self, batch: Any) -> Tensor:
        x = batch["x"] if isinstance(batch, dict) else batch[0]
        h, _ = self.several(self.one(x).relu())
        self.shown(h)
        return self.two(h)

    def per_example_loss(self, batch: Any) -> Tensor:
        losses = F.cross_entropy(
            self.logits(batch), batch["y"] if isinstance(batch, dict) else batch[1], reduction="none"
        )
        return losses[:, None] if self.broken else losses


class Counting(Net):
    """A loss that counts mistakes."""

    def per_example_loss(self, batch: Any) -> Tensor:
        return (self.logits(batch).argmax(-1) != batch[1]).float()


class Several(nn.Module):
    """Gives no tensor."""

    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        return x, 1


def effects(
    data: Any = DATA, components: Any = "one[0]", methods: Any = "zero", module: Any = None, **more: Any
) -> str:
    table = ablation_effects(Net() if module is None else module, data, components, methods, **more)
    return ", ".join(dict.fromkeys(table["status"]))


def first(n: int) -> tuple[Tensor, ...]:
    return tuple(tensor[:n] for tensor in DATA)


def with_nan(at: int) -> tuple[Tensor, ...]:
    broken = X.clone()
    broken[at] = torch.nan
    return broken, Y, WRONG


def run(name: str, *given: Any, **more: Any) -> object:
    net = Net()
    function: Any = {"patching": patching, "tracing": tracing, "path": path_patching, "scrubbing": scrubbing}[name]
    return function(loss_fn(net), snapshot_params(net), *given, **more)


CASES: dict[str, tuple[Callable[[], object], str]] = {
    "methods: none": (
        lambda: effects(methods=None),
        "SettingError: None is no ablation method; give the name of one, or an object. There are:",
    ),
    "methods: an empty list": (
        lambda: effects(methods=[]),
        f"SettingError: no ablation method is given; use one or more of: {', '.join(METHODS)}.",
    ),
    "methods: a class": (
        lambda: effects(methods=Zero),
        "SettingError: the ablation method Zero is given as a class; give an object, Zero().",
    ),
    "methods: a class in a list": (
        lambda: effects(methods=["mean", Noise]),
        "SettingError: the ablation method Noise is given as a class; give an object, Noise().",
    ),
    "methods: a number": (
        lambda: effects(methods=[3]),
        f"SettingError: 3 is no ablation method; give the name of one, or an object. There are: {', '.join(METHODS)}.",
    ),
    "methods: an option without its name": (
        lambda: effects(methods="noise(2)"),
        "SettingError: 'noise(2)' gives '2' without the name of an option; write it, as in 'noise(scale=2)'. The",
    ),
    "methods: a word without its name": (
        lambda: effects(methods="mean(pooled)"),
        "SettingError: 'mean(pooled)' gives 'pooled' without the name of an option; write it, as in",
    ),
    "methods: an option of a method without any": (
        lambda: effects(methods="zero(2)"),
        "SettingError: 'zero' has no options; write it without '2'.",
    ),
    "methods: an unknown option": (
        lambda: effects(methods="noise(sigma=2)"),
        "SettingError: unknown option of 'noise' 'sigma'. Use one of: draws, scale.",
    ),
    "methods: a value that is no number": (
        lambda: effects(methods="noise(scale=loud)"),
        "SettingError: 'noise(scale=loud)' gives scale the value 'loud'; give a number.",
    ),
    "methods: brackets left open": (
        lambda: effects(methods="noise(scale=2"),
        "SettingError: cannot read the ablation method 'noise(scale=2'; write a name such as 'noise', or a name",
    ),
    "methods: gaussian": (
        lambda: effects(methods="gaussian"),
        "SettingError: " + unknown("ablation method", "gaussian", METHODS, near=["noise"]),
    ),
    "methods: counterfactual_pair": (
        lambda: effects(methods="counterfactual_pair"),
        "SettingError: " + unknown("ablation method", "counterfactual_pair", METHODS, near=["counterfactual"]),
    ),
    "methods: zero_ablation": (
        lambda: effects(methods="zero_ablation"),
        "SettingError: " + unknown("ablation method", "zero_ablation", METHODS, near=["zero"]),
    ),
    "methods: Zero": (
        lambda: effects(methods="Zero"),
        "SettingError: " + unknown("ablation method", "Zero", METHODS, near=["zero"]),
    ),
    "metrics: none": (
        lambda: effects(metrics=None),
        f"SettingError: None is no metric; give the name of one, or an object. There are: {', '.join(METRICS)}.",
    ),
    "metrics: unknown": (
        lambda: effects(metrics="kl_divergence"),
        "SettingError: " + unknown("metric", "kl_divergence", METRICS, near=["kl"]),
    ),
    "metrics: answers [n, 1]": (
        lambda: effects((X, Y, WRONG[:, None]), metrics="logit_difference"),
        "DataError: the answers '2' of 'logit_difference' have shape (90, 1) and type torch.int64; give one",
    ),
    "metrics: answers that are no classes": (
        lambda: effects((X, Y, WRONG + 2), metrics="logit_difference"),
        "DataError: the answers '2' of 'logit_difference' go from 2 to 4; give classes from 0 to 2.",
    ),
    "metrics: a shift without positions": (
        lambda: effects(metrics="accuracy(shift=1)"),
        "DataError: the targets '1' of 'accuracy(shift=1)' have shape (90,) and type torch.int64; give whole",
    ),
    "metrics: a shift back": (
        lambda: effects(metrics="accuracy(shift=-1)"),
        "SettingError: shift is -1; give an integer of at least 0.",
    ),
    "metrics: targets that are none": (
        lambda: effects((X, Y, WRONG - 1), metrics="accuracy(target=2)"),
        "DataError: the targets '2' of 'accuracy' are below 0, which is none, for 30 of 90 examples; measure it",
    ),
    "metrics: own of another shape": (
        lambda: effects(metrics=Own(function=lambda *_: torch.zeros(2), title="mine")),
        "DataError: the metric 'mine' returned shape (2,) for 90 examples; it must return one number for each.",
    ),
    "resamples: negative": (
        lambda: effects(resamples=-3),
        "SettingError: resamples is -3; give an integer of at least 0.",
    ),
    "methods: an option twice": (
        lambda: effects(methods="noise(scale=1,scale=2)"),
        "SettingError: 'noise(scale=1,scale=2)' gives the option 'scale' twice; give it once.",
    ),
    "scrubbing: important and not": (
        lambda: scrubbing(loss_fn(Net()), snapshot_params(Net()), DATA, [Node("one[0]")], unimportant=["one[0,1]"]),
        "SettingError: 'one[0]' is in the hypothesis and overlaps 'one[0,1]', which is to be unimportant;",
    ),
    "resamples: few": (
        lambda: effects(resamples=5),
        "SettingError: resamples is 5; give an integer of at least 99.",
    ),
    "resamples: a word": (
        lambda: effects(resamples="many"),
        "SettingError: resamples is 'many'; give an integer of at least 0.",
    ),
    "chunk: 0": (
        lambda: effects(chunk=0),
        "SettingError: chunk is 0; give an integer of at least 1.",
    ),
    "data: none": (
        lambda: effects(None),
        "DataError: the data is of type NoneType; give a tensor, a tuple or list of tensors, or a dict",
    ),
    "data: an array": (
        lambda: effects(np.zeros((9, 4))),
        "DataError: the data is of type ndarray; give a tensor, a tuple or list of tensors, or a dict",
    ),
    "data: an array in a tuple": (
        lambda: effects((X.numpy(), Y)),
        "DataError: the data's entry 0 is of type ndarray; give a tensor, a tuple or list of tensors, or",
    ),
    "data: a list of numbers": (
        lambda: effects([X.tolist(), Y]),
        "DataError: the data's entry 0 is of type list; give a tensor, a tuple or list of tensors, or a dict",
    ),
    "data: no example": (
        lambda: effects(first(0)),
        "DataError: the data has 0 examples; give at least 1.",
    ),
    "data: sizes that differ": (
        lambda: effects((X, Y[:3])),
        "DataError: the data's tensors disagree on the number of examples: entry 0 has 90, entry 1 has 3; give",
    ),
    "data: one example": (
        lambda: effects(first(1), methods=["zero", "mean", "noise", "optimal(steps=1)"]),
        "-> one-example",
    ),
    "data: one example, resampled": (
        lambda: effects(first(1), methods="resample"),
        "DataError: 'resample' takes the activation of another example, and none has one; give more.",
    ),
    "data: labels that are all different": (
        lambda: effects((X, Y, torch.arange(N)), methods="resample(label=2)"),
        "DataError: 'resample(label=2)' takes the activation of another example with the same label '2', and",
    ),
    "data: unknown label": (
        lambda: effects(methods="mean(label=digit)"),
        "SettingError: unknown label 'digit'. Use one of: 0, 1, 2.",
    ),
    "data: a NaN": (
        lambda: effects(with_nan(3), methods=["zero", "mean", "resample", "noise", "optimal(steps=1)"]),
        "-> nan-loss",
    ),
    "module: losses of another shape": (
        lambda: effects(module=Net(broken=True)),
        "SettingError: per_example_loss returned a value of shape (3, 1) for 3 examples; it must return one",
    ),
    "optimal: no gradient": (
        lambda: effects(module=Counting(), methods="optimal"),
        "SettingError: the loss has no gradient, which the ablation method 'optimal' follows;",
    ),
    "module: none": (
        lambda: effects(module=3),
        "SettingError: int has no per_example_loss(batch); give it a method that returns one loss per example,",
    ),
    "components: none": (
        lambda: effects(components=None),
        "AddressError: None names no component; give an address, a glob, or a word such as 'neurons'.",
    ),
    "components: an empty list": (
        lambda: effects(components=[]),
        "AddressError: no component is given; give some, such as 'neurons', 'layers' or an address.",
    ),
    "components: a number": (
        lambda: effects(components=[3]),
        "AddressError: 3 names no component; give an address, a glob, or a word such as 'neurons'.",
    ),
    "components: unknown": (
        lambda: effects(components="xyz[0]"),
        f"AddressError: unknown component 'xyz[0]'. Use one of: {', '.join([*WORDS[: bisect(WORDS, 'one')], 'one'])},",
    ),
    "components: a unit that is not there": (
        lambda: effects(components="one[5]"),
        "AddressError: 'one[5]' names unit 5, but 'one' has 5 units; they go from one[0] to one[4].",
    ),
    "components: a position that is not there": (
        lambda: effects(components="one@2"),
        "AddressError: 'one@2' names positions 2, but the activation of 'one' has shape (5,) per example, with",
    ),
    "components: weights alone": (
        lambda: effects(components="one.weight"),
        "AddressError: 'one.weight' has no activation, so it cannot be ablated; address a hook point or units of one",
    ),
    "components: unread": (
        lambda: effects(components="shown"),
        "AddressError: the loss does not depend on what the hook point 'shown' shows, so that ablating it does",
    ),
    "components: unread, one example": (
        lambda: effects(first(1), components="shown"),
        "AddressError: the loss does not depend on what the hook point 'shown' shows, so that ablating it does",
    ),
    "components: unread, mean of one example": (
        lambda: effects(first(1), components="shown", methods="mean"),
        "AddressError: the loss does not depend on what the hook point 'shown' shows, so that ablating it does",
    ),
    "partners: none": (
        lambda: effects(methods="counterfactual"),
        "SettingError: the ablation method 'counterfactual' needs a partner of each example; give",
    ),
    "partners: an array": (
        lambda: effects(methods="counterfactual", counterfactual=X.numpy()),
        "DataError: the counterfactual partners are of type ndarray; give a tensor, a tuple or list of tensors,",
    ),
    "partners: fewer": (
        lambda: effects(methods="counterfactual", counterfactual=first(8)),
        "DataError: there are 8 counterfactual partners for 90 examples; give one for each.",
    ),
    "partners: another container": (
        lambda: effects(methods="counterfactual", counterfactual={"x": X, "y": Y}),
        "DataError: the counterfactual partners hold entry 'x' of shape [4], entry 'y' of shape [] each, the",
    ),
    "partners: other shapes": (
        lambda: effects(methods="counterfactual", counterfactual=(X[:, :3], Y, WRONG)),
        "DataError: the counterfactual partners hold entry 0 of shape [3], entry 1 of shape [], entry 2 of shape",
    ),
    "partners: not asked for, and wrong": (
        lambda: effects(counterfactual=first(8)),
        "DataError: there are 8 counterfactual partners for 90 examples; give one for each.",
    ),
    "patching: fewer donors": (
        lambda: run("patching", DATA, first(8), "one"),
        "DataError: there are 8 donors for 90 examples; give one for each.",
    ),
    "patching: no component": (
        lambda: run("patching", DATA, DATA, []),
        "AddressError: no component is given; give some, such as 'neurons', 'layers' or an address.",
    ),
    "patching: weights alone": (
        lambda: run("patching", DATA, DATA, "one.weight"),
        "AddressError: 'one.weight' has no activation, so it cannot be ablated; address a hook point or units of one",
    ),
    "tracing: an even window": (
        lambda: run("tracing", DATA, DATA, "one", window=2),
        "SettingError: window is 2; give an odd number of layers, such as 1 or 5.",
    ),
    "tracing: no layer": (
        lambda: run("tracing", DATA, DATA, []),
        "AddressError: no component is given; give some, such as 'neurons', 'layers' or an address.",
    ),
    "tracing: other shapes": (
        lambda: run("tracing", DATA, (X[:, :3], Y, WRONG), "one"),
        "DataError: the corrupted examples hold entry 0 of shape [3], entry 1 of shape [], entry 2 of shape []",
    ),
    "path: no receiver": (
        lambda: run("path", DATA, DATA, sender="one[0]", receivers=[], frozen=[]),
        "SettingError: the path from 'one[0]' needs receivers other than the sender; give some.",
    ),
    "path: no sender": (
        lambda: run("path", DATA, DATA, sender=[], receivers="two", frozen=[]),
        "SettingError: the path has no sender; give the component whose message is exchanged.",
    ),
    "path: a receiver that is partly frozen": (
        lambda: run("path", DATA, DATA, sender="one[0]", receivers="two[1]", frozen="two"),
        "SettingError: the receiver 'two[1]' is frozen by 'two', so that it hears nothing; leave it out of frozen.",
    ),
    "path: a receiver within the sender": (
        lambda: run("path", DATA, DATA, sender="one", receivers="one[1]", frozen=[]),
        "SettingError: the path from 'one' needs receivers other than the sender; give some.",
    ),
    "path: weights alone": (
        lambda: run("path", DATA, DATA, sender="one[0]", receivers="two.bias", frozen=[]),
        "AddressError: 'two.bias' has no activation, so it cannot be ablated; address a hook point or units of one",
    ),
    "scrubbing: no draw": (
        lambda: run("scrubbing", DATA, [], [], draws=0),
        "SettingError: draws is 0 and pool None for 90 examples; give at least 1 of each, at most all.",
    ),
    "scrubbing: nothing to scrub": (
        lambda: run("scrubbing", DATA, [], []),
        "AddressError: no component is given; give some, such as 'neurons', 'layers' or an address.",
    ),
    "scrubbing: an unknown component": (
        lambda: run("scrubbing", DATA, [Node("one[7]")], []),
        "AddressError: 'one[7]' names unit 7, but 'one' has 5 units; they go from one[0] to one[4].",
    ),
    "scrubbing: several components": (
        lambda: run("scrubbing", DATA, [Node("neurons")], []),
        "AddressError: 'neurons' names 5 components; a node is one, such as 'net.hook[3]' or a set 'a+b'.",
    ),
    "scrubbing: a feature of another shape": (
        lambda: run("scrubbing", DATA, [Node("one", lambda batch: batch[0])], []),
        "DataError: the feature of 'one' has shape (90, 4) and type torch.float32; give one whole number for",
    ),
}
"""What is wrong -> the call, and how what is said begins."""

if __name__ == "__main__":
    told: dict[str, str] = {}
    for case, (call, _) in CASES.items():
        try:
            told[case] = f"-> {call()}"
        except Exception as error:
            told[case] = f"{type(error).__name__}: {error}"
    json.dump(told, sys.stdout)
