"""Nets under ablation: trained briefly or planted, each with what is ablated and the resolution at which chains mix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import lightning as L
import torch

from benchmarks.trained import trained
from llc_lightning.data.cis import CISData
from llc_lightning.data.images import MNISTFashionData
from llc_lightning.llc.recover import recover
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.ablated_llc.plan import AblatedLLCPlan
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.models.cis import CISModel
from llc_lightning.models.cis_truth import DEAD
from llc_lightning.models.image import ImageModel
from llc_lightning.models.planted import PlantedModel
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.results.schema import Row
from llc_lightning.runtime.batches import Batch

_CHAINS = ChainSettings(chains=8, burn_in=500, draws=500, preconditioner="hutchinson")
_FEW_CHAINS = replace(_CHAINS, chains=4, burn_in=400, draws=400)
"""Where a step is long."""
_LONG_CHAINS = replace(_FEW_CHAINS, burn_in=600, draws=600)
"""Where those are too short."""
_SEED = 0
_BEYOND_REACH = 20.0
"""By how much the biases of neurons that never fire lie further below 0 than inputs alone would ask for."""
_NOISE = 0.3
"""SD of what no transformer could predict."""
_LONG = 5000
UNREAD_HEADS = ("net.blocks.0.attn.hook_z[1]", "net.blocks.1.attn.hook_z[1]")


@dataclass(frozen=True)
class Net:
    """A net and how its LLC under ablation is measured."""

    name: str
    at: Snapshot
    plan: AblatedLLCPlan


def first(net: Net, number: int) -> Net:
    """Returns a net of which only the first components are ablated."""
    some = net.plan.components_of(net.at.loss.module, net.at.data)[:number]
    return replace(net, plan=replace(net.plan, components=tuple(one.address for one in some)))


def by_component(rows: list[Row]) -> dict[str, dict[str, Row]]:
    """Returns the rows of every component, by quantity; of one method."""
    addresses = dict.fromkeys(row.component for row in rows if row.component)
    return {address: {row.quantity: row for row in rows if row.component == address} for address in addresses}


@cache
def cis(seed: int = 0) -> Net:
    """Returns a net that computes 8 circuits with 16 neurons, on 1,024 examples."""
    shared = {"task": "xor", "size": 8, "active": 1.0}
    model = CISModel(**shared, width=16, loss_power=2.0, learning_rate=3e-3)
    found = trained(model, CISData(**shared, analysis_size=1024), seed, max_steps=1500)
    return _net("cis", *found, "net.hook_hidden[*]", n_beta=1000.0, gamma=100.0)


@cache
def cis_at_minimum(seed: int = 0) -> Net:
    """Returns the same at its minimum, where what an ablation changes is felt by all weights that are left."""
    net = at_minimum(cis(seed))
    return replace(net, plan=replace(net.plan, n_beta=(1e4,), gamma=1e4, budget=3000))


@cache
def image() -> Net:
    """Returns a classifier of images of 14 x 14 with 4 neurons at its minimum on 4,096 images."""
    data = MNISTFashionData(layout="mix20", mini=True, batch_size=128, analysis_size=4096)
    model = ImageModel(layout="mix20", mini=True, width=4, depth=1)
    found = trained(model, data, _SEED, max_epochs=3)
    return at_minimum(_net("image", *found, "neurons", n_beta=1e4, gamma=1e4, settings=_FEW_CHAINS))


@cache
def transformer() -> Net:
    """Returns a transformer of one layer at the minimum of predicting another one's numbers, through noise.

    Without layer norms, by which the loss is curved less the longer weights are.
    """
    shape = {"d_model": 8, "d_mlp": 12, "n_layers": 1, "n_heads": 2, "norm": "none", "d_input": 4}
    model, other = (TransformerModel(1, 4, **shape, seed=seed) for seed in (_SEED, _SEED + 7))
    random = torch.Generator().manual_seed(_SEED)
    inputs = torch.randn(1024, 4, 4, generator=random)
    with torch.no_grad():
        targets = other(inputs)[..., 0]
    targets += _NOISE * torch.randn(targets.shape, generator=random)
    net = at_minimum(
        _net("transformer", model, (inputs, targets), "neurons", n_beta=1e5, gamma=1e5, settings=_LONG_CHAINS)
    )
    return replace(net, plan=replace(net.plan, budget=2000))


def at_minimum(net: Net) -> Net:
    """Returns a net with the weights that full-batch training reaches from its own."""
    loss, params, data = net.at.loss, net.at.params, net.at.data
    found = recover(loss, params, data, n_beta=net.plan.n_beta[0], budget=_LONG)
    return replace(net, at=replace(net.at, params=found.params))


def _net(
    name: str,
    module: L.LightningModule,
    data: Batch,
    components: str,
    *,
    n_beta: float,
    gamma: float,
    settings: ChainSettings = _CHAINS,
) -> Net:
    at = Snapshot.of(module, data, run=f"{name}/version_0", seed=_SEED, step=1, epoch=0)
    plan = AblatedLLCPlan(
        components=(components,), methods=("zero",), n_beta=(n_beta,), gamma=gamma, settings=settings, closure=True
    )
    return Net(name, at, plan)


@cache
def planted(seed: int) -> Net:
    """Returns a net by construction, whose loss is 0, with 3 neurons that never fire and 3 that nothing reads."""
    model = PlantedModel(("xor", "and"), dead=6, unrelated=None, permute=False, seed=seed)
    with torch.no_grad():
        silent = torch.tensor([role == DEAD for role in model.roles]) & model.net.W_out.weight.ne(0).any(0)
        model.net.W_in.bias[silent] -= _BEYOND_REACH
    data = model.sample(128, torch.Generator().manual_seed(seed))
    return _net("planted", model, data, "net.hook_hidden[*]", n_beta=300.0, gamma=10.0)


def never_firing(net: Net) -> list[str]:
    """Returns the neurons of a planted net that never fire, but would be read."""
    return [address for address, read in _dead(net).items() if read]


def unread(net: Net) -> list[str]:
    """Returns those that fire, and nothing reads."""
    return [address for address, read in _dead(net).items() if not read]


def _dead(net: Net) -> dict[str, bool]:
    """Returns the dead neurons, and whether anything reads them."""
    read = net.at.params["net.W_out.weight"].ne(0).any(0).tolist()
    roles = net.at.loss.module.ground_truth().items()  # pyright: ignore[reportAttributeAccessIssue]
    return {address: one for (address, role), one in zip(roles, read, strict=True) if role == DEAD}


@cache
def heads(seed: int) -> Net:
    """Returns a transformer whose own outputs are what it is to predict, and whose last head of each layer is unread.

    So its loss is 0, and no weight gains by reading these heads.
    """
    model = TransformerModel(1, 4, d_model=8, norm="none", d_input=4, seed=seed)
    with torch.no_grad():
        for block in model.net.blocks:
            block.attn.W_O[-1] = 0.0  # pyright: ignore[reportAttributeAccessIssue, reportIndexIssue]
        inputs = torch.randn(64, 4, 4, generator=torch.Generator().manual_seed(seed))
        targets = model(inputs)[..., 0]
    net = _net("heads", model, (inputs, targets), "heads", n_beta=1000.0, gamma=100.0)
    return replace(net, plan=replace(net.plan, components=UNREAD_HEADS, closure=False))
