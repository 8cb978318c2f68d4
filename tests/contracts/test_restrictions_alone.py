"""Every restricted chain in a batch equals the same one run alone, bit for bit on CPU at a fixed number of threads."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
from torch import Tensor, nn

from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import ModuleLoss, loss_fn, snapshot_params
from llc_lightning.data.cis import CISData
from llc_lightning.llc.estimator import estimate_llc, estimate_parts
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import ChainSettings, Resolution, Restriction
from llc_lightning.models.cis import CISModel
from llc_lightning.runtime.batches import Batch, Params
from llc_lightning.sampling.base import Posterior
from llc_lightning.sampling.centre import centre_of
from llc_lightning.sampling.chains import Chains, run_chains
from llc_lightning.sampling.observables.distance import SquaredDistance
from llc_lightning.sampling.recorder import Recorder
from llc_lightning.sampling.samplers.sgld import SGLD
from llc_lightning.sampling.slices import moved_entries
from llc_lightning.sampling.stacked import Graphs, StackedLoss

SETTINGS = ChainSettings(chains=2, draws=6, burn_in=2, batch_size=64, curvature_examples=64)
AT = (Resolution(300.0, 10.0),)


@dataclasses.dataclass(frozen=True)
class Subject:
    """A net, its weights and its data."""

    loss: ModuleLoss
    params: Params
    data: Batch
    graphs: Graphs = dataclasses.field(default_factory=Graphs)
    """Shared, as by the tiles of one estimate."""

    @classmethod
    def of(cls, module: nn.Module, data: Batch) -> "Subject":
        return cls(loss_fn(module), snapshot_params(module), data)

    def parts(self, *spec: str) -> list[Restriction]:
        return [Restriction(part.moved(self.params)) for part in find_components(self.loss.module, list(spec))]

    def estimates(
        self, parts: Sequence[Restriction], at: Sequence[Resolution] = AT, settings: ChainSettings = SETTINGS
    ) -> list[list[LLCRecord]]:
        return estimate_parts(self.loss, self.params, self.data, parts, at, settings, seed=3)


@pytest.fixture(scope="module")
def cis() -> Subject:
    return Subject.of(CISModel(seed=1), CISData(analysis_size=500).analysis_set())


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def assert_same(one: LLCRecord, other: LLCRecord) -> None:
    assert repr(one.facts()) == repr(other.facts())  # a NaN is as good as another
    assert torch.equal(one.excess, other.excess)
    assert torch.equal(one.baseline, other.baseline)
    assert one.observed.keys() == other.observed.keys()
    assert all(torch.equal(seen, other.observed[name]) for name, seen in one.observed.items())


def assert_alone_as_together(
    subject: Subject, parts: Sequence[Restriction], alone: Sequence[int], **options: object
) -> None:
    together = subject.estimates(parts, **options)
    for i in alone:
        (record,) = subject.estimates([parts[i]], **options)[0]
        assert_same(record, together[i][0])
        assert record.excess.any()


def test_neurons_alone_in_any_subset_and_in_any_order(cis: Subject) -> None:
    neurons = cis.parts("neurons")
    together = cis.estimates(neurons)
    for chosen in ([0], [19], [31, 4, 17], list(range(32))[::-1]):
        for number, (record,) in zip(chosen, cis.estimates([neurons[i] for i in chosen]), strict=True):
            assert_same(record, together[number][0])
            assert record.excess.any()


def test_channels_of_a_convolution_in_the_shares_of_two_processes() -> None:
    class Images(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.c1, self.bn = nn.Conv2d(1, 20, 3, padding=1), nn.BatchNorm2d(20)
            self.c2, self.out = nn.Conv2d(20, 20, 3, padding=1), nn.Linear(20, 5)

        def per_example_loss(self, batch: Tensor) -> Tensor:
            seen = self.c2(self.bn(self.c1(batch)).relu()).relu().mean((2, 3))
            return self.out(seen).logsumexp(1) - self.out(seen)[:, 0]

    images = Subject.of(Images(), torch.randn(150, 1, 6, 12, generator=torch.Generator().manual_seed(1)))
    channels = images.parts("c2[*]")
    settings = dataclasses.replace(SETTINGS, chains=3, draws=8, burn_in=4, batch_size=17, curvature_examples=16)
    together = images.estimates(channels, settings=settings)
    for chosen in (list(range(0, 20, 2)), list(range(1, 20, 2))):
        shared = images.estimates([channels[i] for i in chosen], settings=settings)
        for number, (record,) in zip(chosen, shared, strict=True):
            assert_same(record, together[number][0])


def test_layers_and_sets_among_neurons(cis: Subject) -> None:
    layers = cis.parts("layers")
    sets = cis.parts("net.hook_hidden[3,5]", "net.hook_hidden[4,30]")
    mixed = [layers[0], *cis.parts("neurons")[:3], *sets, layers[1]]
    assert_alone_as_together(cis, mixed, range(len(mixed)))


def test_a_rung_alone_and_in_a_ladder(cis: Subject) -> None:
    parts = [cis.parts("neurons")[7], cis.parts("layers")[0], Restriction(None)]
    ladder = [Resolution(n_beta, 10.0) for n_beta in (100.0, 300.0, 1000.0)]
    together = cis.estimates(parts, ladder)
    for rung, at in enumerate(ladder):
        for records, (alone,) in zip(together, cis.estimates(parts, [at]), strict=True):
            assert_same(alone, records[rung])


def test_two_threads(cis: Subject) -> None:
    torch.set_num_threads(2)
    settings = dataclasses.replace(SETTINGS, draws=3, burn_in=0, step_size=1e-3, curvature_examples=16)
    assert_alone_as_together(cis, cis.parts("neurons"), (0, 19), settings=settings)


def chains_of(
    subject: Subject, lanes: Sequence[Mapping[str, Tensor] | None], chains: Sequence[int], batch_size: int | None
) -> Chains:
    moved = [moved_entries(subject.params, lane) for lane in lanes]
    stacked = StackedLoss(subject.loss, subject.params, moved, graphs=subject.graphs)
    centre = centre_of(subject.loss, subject.params, subject.data, subject.params)
    n_beta = torch.full((stacked.width,), 1000.0)
    posterior = Posterior(stacked.start(1), n_beta, n_beta / 100)
    recorder = Recorder([SquaredDistance(every=1)], posterior, lanes=stacked.lanes)
    return run_chains(
        stacked, SGLD(posterior, torch.full_like(n_beta, 1e-4), None), subject.data, centre.losses, seed=0,
        chains=chains, steps=10, batch_size=batch_size, recorder=recorder,
    )  # fmt: skip


def distances(chains: Chains) -> Tensor:
    return chains.observed["squared_distance"]


def test_the_chains_of_every_neuron(cis: Subject) -> None:
    neurons = [part.moved for part in cis.parts("neurons")]
    together = chains_of(cis, neurons, range(2), 64)
    for number, neuron in enumerate(neurons):
        alone = chains_of(cis, [neuron], range(2), 64)
        assert torch.equal(alone.excess[0], together.excess[number])
        assert torch.equal(distances(alone)[0], distances(together)[number])


def whole(cis: Subject) -> None:
    return None


def neuron(cis: Subject) -> dict[str, Tensor]:
    return dict(cis.parts("neurons")[3].moved or {})


def layer(cis: Subject) -> dict[str, Tensor]:
    return dict(cis.parts("layers")[1].moved or {})


@pytest.mark.parametrize("batch_size", [64, None])
@pytest.mark.parametrize("moved", [whole, neuron, layer])
def test_a_chain_alone_and_among_others(
    cis: Subject, moved: Callable[[Subject], dict[str, Tensor] | None], batch_size: int | None
) -> None:
    together = chains_of(cis, [moved(cis)], range(8), batch_size)
    for chosen in ([0], [3], [7], [2, 3, 4]):
        some = chains_of(cis, [moved(cis)], chosen, batch_size)
        assert torch.equal(some.excess, together.excess[:, chosen])
        assert torch.equal(distances(some), distances(together)[:, chosen])
        assert torch.equal(some.baseline, together.baseline[chosen])


def test_what_vmap_refuses_gives_the_same_estimate(cis: Subject) -> None:
    def refused(params: Params, batch: Batch) -> Tensor:
        losses = cis.loss(params, batch)
        return losses if bool(losses.sum() > 0) else -losses

    settings = {"n_beta": 300.0, "gamma": 10.0, "chains": 2, "draws": 4, "burn_in": 1, "batch_size": 16}
    for moved in (neuron(cis), layer(cis)):
        looped = estimate_llc(refused, cis.params, cis.data, **settings, step_size=1e-3, moved=moved)
        mapped = estimate_llc(cis.loss, cis.params, cis.data, **settings, step_size=1e-3, moved=moved)
        assert (looped.vmapped, mapped.vmapped) == (False, True)
        assert torch.allclose(looped.excess, mapped.excess, rtol=1e-4, atol=1e-7)
        assert looped.value == pytest.approx(mapped.value, rel=1e-4)
