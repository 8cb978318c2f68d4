"""The sweep against the slow literal way, against weight edits, and against itself in other company."""

import math
from collections import OrderedDict
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from llc_lightning.ablation.engine import lanes
from llc_lightning.ablation.engine.base import resolve_methods
from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.influence import donors
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.ablation.methods.noise import Noise
from llc_lightning.ablation.methods.resample import Resample
from llc_lightning.ablation.methods.zero import Zero
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.runtime.batches import Batch, take
from llc_lightning.runtime.errors import AddressError, DataError, SettingError
from llc_lightning.runtime.tape import RecordingError
from tests.ablation.nets import (
    Branching,
    Circuits,
    Images,
    Smooth,
    Tokens,
    circuits_data,
    expected_status,
    heads,
    images_data,
    literal_error,
    literal_losses,
    tokens_data,
    values_of,
)

ALL = ("zero", "mean", "resample", "noise")


def swept(
    module: nn.Module,
    data: Batch,
    components: str | Sequence[str] | Sequence[Component],
    methods: object = ALL,
    **settings: object,
) -> list[Effect]:
    if isinstance(components, str) or isinstance(components[0], str):
        components = find_components(module, components)
    return sweep(loss_fn(module), snapshot_params(module), data, components, methods, **({"seed": 5} | settings))


def effects(found: list[Effect]) -> list[Effect]:
    return [effect for effect in found if effect.quantity == "ablation_effect"]


CASES = {
    "circuits": (Circuits, circuits_data, ["neurons", "hook_hidden[1,3]", "layers"]),
    "images": (Images, images_data, ["neurons", "conv", "mix[0,4]"]),
    "tokens": (Tokens, tokens_data, heads()),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Batch, list[Component]]:
    make, data, spec = CASES[request.param]
    module = make()
    components = spec if isinstance(spec[0], Component) else find_components(module, spec)
    return module, data(300), components


class TestAgainstTheLiteralWay:
    def test_every_effect_and_error(self, case: tuple[nn.Module, Batch, list[Component]]) -> None:
        module, data, components = case
        found = iter(effects(swept(module, data, components, per_example=True)))
        for component in components:
            for method in resolve_methods(ALL):
                effect = next(found)
                clean, ablated = literal_losses(module, data, component, values_of(method, data, seed=5))
                difference = (ablated - clean).double().mean(0)
                assert (effect.component, effect.kind) == (component.address, component.kind)
                assert (effect.method, effect.draws, effect.loss) == (method.name, method.draws, "train")
                assert effect.per_example is not None
                torch.testing.assert_close(effect.per_example.double(), difference, atol=1e-6, rtol=1e-5)
                assert effect.value == pytest.approx(difference.mean().item(), abs=1e-6)
                told = difference if effect.influences is None else effect.influences
                assert effect.stderr == pytest.approx(told.std().item() / math.sqrt(300), abs=1e-7, rel=1e-4)
                assert (effect.n, effect.vmapped) == (300, True)
                if effect.influences is None:
                    assert effect.status == expected_status(difference)
                assert effect.status in ("ok", "too-few-examples")
        assert next(found, None) is None

    def test_effects_on_tasks_count_their_own_examples(self) -> None:
        module, data = Circuits(), circuits_data(300)
        found = swept(module, data, "hook_hidden[2]", Resample(draws=3), tasks=True)
        assert [effect.loss for effect in found] == ["train", *module.task_names] * 2
        component = find_components(module, "hook_hidden[2]")[0]
        for task, (loss, effect) in enumerate(zip(found[1:4], found[5:], strict=True)):
            alone = OneTask(task)
            alone.load_state_dict(module.state_dict())
            clean, ablated = literal_losses(alone, data, component, values_of(Resample(draws=3), data, seed=5))
            counts = data[1][:, task] != 0
            difference = (ablated - clean).double().mean(0)[counts]
            assert loss.n == effect.n == int(counts.sum()) < 150
            assert loss.value == pytest.approx(clean[counts].double().mean().item(), rel=1e-6)
            assert effect.value == pytest.approx(difference.mean().item(), abs=1e-6)
            by_draw = torch.stack([donors(300, seed=5, draw=draw) for draw in range(3)])
            error = literal_error((ablated - clean).double(), by_draw, counts)
            assert effect.stderr == pytest.approx(error, rel=1e-3)

    def test_the_unablated_loss_comes_first(self) -> None:
        module, data = Circuits(), circuits_data(70)
        loss = swept(module, data, "layers", "zero", per_example=True)[0]
        clean = module.per_example_loss(data).detach().double()
        assert (loss.quantity, loss.component, loss.kind, loss.method, loss.draws) == ("loss", "", "", "", 0)
        assert loss.value == pytest.approx(clean.mean().item(), rel=1e-6)
        assert loss.stderr == pytest.approx(clean.std().item() / math.sqrt(70), rel=1e-5)
        torch.testing.assert_close(loss.per_example, clean.float())

    def test_a_module_that_vmap_refuses_runs_one_by_one(self) -> None:
        module, data = Branching(), torch.randn(200, 3)
        first, last = find_components(module, ["first", "last"])
        found = effects(swept(module, data, [first, last], chunk=3, per_example=True))
        for component, method, effect in zip([first] * 4 + [last] * 4, resolve_methods(ALL) * 2, found, strict=True):
            clean, ablated = literal_losses(module, data, component, values_of(method, data, seed=5))
            assert effect.value == pytest.approx((ablated - clean).mean().item(), abs=1e-6)
            # Nothing branches after the last layer, and before it nothing depends on the ablation.
            assert effect.vmapped == (component is last)
        assert_same(found[2:3], swept(module, data, [first], "resample", per_example=True)[1:])


class OneTask(Circuits):
    def __init__(self, task: int) -> None:
        super().__init__()
        self.task = task

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return self.per_task_loss(batch)[0][:, self.task]


class TestAnyCompany:
    """The same bits alone and beside others, for any chunk, any number of examples, traced or not."""

    @pytest.mark.parametrize("chunk", [1, 2, 13, 1000])
    def test_chunks_change_nothing(self, case: tuple[nn.Module, Batch, list[Component]], chunk: int) -> None:
        module, data, components = case
        whole = swept(module, data, components, per_example=True)
        assert_same(whole, swept(module, data, components, per_example=True, chunk=chunk))

    def test_nor_do_they_at_two_threads(self, case: tuple[nn.Module, Batch, list[Component]]) -> None:
        module, data, components = case
        torch.set_num_threads(2)
        whole = swept(module, data, components[-4:], "resample", per_example=True)
        assert_same(whole, swept(module, data, components[-4:], "resample", per_example=True, chunk=5))
        assert_same(whole[-2:-1], swept(module, data, components[-2:-1], "resample", per_example=True)[1:])

    def test_alone_as_among_others(self, case: tuple[nn.Module, Batch, list[Component]]) -> None:
        module, data, components = case
        together = swept(module, data, components, per_example=True)
        alone = [
            effect
            for component in components
            for method in ALL
            for effect in effects(swept(module, data, [component], method, per_example=True))
        ]
        assert_same(effects(together), alone)
        assert_same(together[:1], swept(module, data, components[-1:], "zero", per_example=True)[:1])

    @pytest.mark.parametrize("n", [2, 20, 64, 65, 257])
    def test_any_number_of_examples(self, n: int) -> None:
        components = find_components(Circuits(), ["neurons", "layers"])
        module, data = Circuits(), circuits_data(n)
        together = swept(module, data, components, tasks=True, chunk=9)
        alone = [swept(module, data, [part], method, tasks=True)[4:] for part in components for method in ALL]
        assert_same(together[4:], [effect for group in alone for effect in group])

    @pytest.mark.parametrize("threads", [1, 2])
    def test_elementwise_functions_see_every_ablation_from_its_start(self, threads: int) -> None:
        torch.set_num_threads(threads)
        parts = [Component("units", "layer", "units")]
        for n in (8, 16, 32, 256, 1024):
            data = torch.randn(n, 1)
            together = swept(Smooth(), data, parts, ALL, per_example=True)
            for chunk in (1, 2, 3, 5):
                assert_same(together, swept(Smooth(), data, parts, ALL, per_example=True, chunk=chunk))

    def test_few_examples(self, case: tuple[nn.Module, Batch, list[Component]]) -> None:
        module, data, components = case
        data = take(data, slice(0, 5))
        together = swept(module, data, components, chunk=11)[1:]
        alone = [swept(module, data, [part], method)[1] for part in components for method in ALL]
        assert_same(together, alone)

    def test_recorded_or_not(
        self, case: tuple[nn.Module, Batch, list[Component]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module, data, components = case
        tasks = isinstance(module, Circuits)
        lanes._KEPT.clear()
        replays = count_replays(monkeypatch)
        found = [swept(module, data, components, per_example=True, tasks=tasks) for _ in range(2)]
        kinds = {(component.point, component.units and len(component.units)) for component in components}
        assert len(replays) == len(lanes._KEPT) == len(kinds)  # none by the second sweep, whose loss is another
        monkeypatch.setattr(lanes, "_KEPT", OrderedDict())
        monkeypatch.setattr(lanes, "record", refuses)
        plain = swept(module, data, components, per_example=True, tasks=tasks)
        assert not any(lanes._KEPT.values())
        assert_same(plain, found[0])
        assert_same(plain, found[1])

    def test_filling_changes_nothing(self, case: tuple[nn.Module, Batch, list[Component]]) -> None:
        module, data, components = case
        make = {Circuits: circuits_data, Images: images_data, Tokens: tokens_data}[type(module)]
        more = first_examples_of(make(512), data)
        for few, many in zip(
            swept(module, data, components, "zero", per_example=True),
            swept(module, more, components, "zero", per_example=True),
            strict=True,
        ):
            assert torch.equal(few.per_example, many.per_example[:300])


def first_examples_of(more: Batch, data: Batch) -> Batch:
    """Returns ``more`` with its first examples exchanged for ``data``."""
    if isinstance(data, Tensor):
        return torch.cat([data, more[len(data) :]])
    if isinstance(data, dict):
        return {name: first_examples_of(more[name], data[name]) for name in data}
    return tuple(first_examples_of(*pair) for pair in zip(more, data, strict=True))


def count_replays(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Collects the replays that are made."""
    replays: list[object] = []
    make = lanes.Replay

    def counted(*args: object) -> object:
        replays.append(make(*args))
        return replays[-1]

    monkeypatch.setattr(lanes, "Replay", counted)
    return replays


def refuses(*args: object) -> None:
    raise RecordingError("no")


def assert_same(first: list[Effect], second: list[Effect]) -> None:
    """Equal to the last bit, NaN being equal to NaN."""
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert repr(one) == repr(other)
        assert one.per_example is other.per_example is None or torch.equal(one.per_example, other.per_example)


class TestWhatIsShared:
    def test_a_dead_neuron_has_no_effect_at_all(self) -> None:
        module, data = Circuits(width=300), circuits_data(300)
        with torch.no_grad():
            module.W_in.weight[7] = 0
            module.W_in.bias[7] = -1
        found = swept(module, data, "hook_hidden[7]", per_example=True)[1:]
        assert [(effect.value, effect.stderr, effect.status) for effect in found] == [(0.0, 0.0, "ok")] * 4
        assert not any(effect.per_example.any() for effect in found)

    def test_a_nan_stays_where_it_is_and_goes_where_it_is_replaced(self) -> None:
        module, data = Circuits(), circuits_data(100)
        with torch.no_grad():
            module.W_in.bias[2] = math.nan
        zero = {effect.component: effect for effect in swept(module, data, ["neurons", "hook_hidden"], "zero")}
        assert {effect.status for effect in zero.values()} == {"nan-loss"}
        assert all(math.isnan(effect.value) and math.isnan(effect.stderr) for effect in zero.values())
        loss = loss_fn(module)
        keep = torch.tensor([False, False, True, False, False])
        at = lanes.AtPoints((("hook_hidden", -1),))
        healed = lanes.Lanes(loss, snapshot_params(module), at, with_tasks=False)(
            data, [{"where": torch.stack([keep, ~keep]), "value": torch.zeros(2, 100, 5)}]
        )[0]
        assert healed[0].isfinite().all()
        assert healed[1].isnan().all()

    def test_an_infinite_effect_is_a_failed_one(self) -> None:
        module, data = Circuits(), circuits_data(100)
        with torch.no_grad():
            module.W_out.weight *= 1e12
        found = swept(module, data, "hook_hidden[0]", Noise(scale=1e4))[1]
        assert (found.status, str(found.value)) == ("nan-loss", "nan")

    def test_points_share_donors_and_noise(self) -> None:
        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.one, self.two = nn.Identity(), nn.Identity()

            def per_example_loss(self, batch: Tensor) -> Tensor:
                return (self.one(batch) + self.two(batch)).square().sum(-1)

        parts = [Component(name, "layer", name) for name in ("one", "two")]
        found = effects(swept(Twice(), torch.randn(90, 3), parts, per_example=True))
        for one, two in zip(found[:4], found[4:], strict=True):
            assert torch.equal(one.per_example, two.per_example)


class Operations(TorchDispatchMode):
    """Counts the rows of every matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, int]] = []

    def __torch_dispatch__(self, func: object, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        if func in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            left = args[0] if func is torch.ops.aten.mm.default else args[1]
            self.rows.append(tuple(left.shape))
        return func(*args, **(kwargs or {}))


def test_only_what_follows_the_hook_point_is_computed_per_ablation(monkeypatch: pytest.MonkeyPatch) -> None:
    module, data = Circuits(), circuits_data(64)
    for recorded in (True, False):
        if not recorded:
            monkeypatch.setattr(lanes, "record", refuses)
        run = lanes.Lanes(
            loss_fn(module), snapshot_params(module), lanes.AtPoints((("hook_hidden", -1),)), with_tasks=True
        )
        lane = {"where": torch.eye(5, dtype=torch.bool)[:, None], "value": torch.randn(5, 64, 5)}
        for _ in range(2):
            run(data, [lane])
        with Operations() as seen:
            run(data, [lane])
        before, after = (64, 6), (5 * 64, 5)
        # Two losses are two forward passes for vmap, and one where each operation is replayed once; what lies before
        # the hook point is then kept from pass to pass.
        assert seen.rows == ([after] if recorded else [before, after] * 2)


class TestBadInput:
    def test_no_example(self) -> None:
        with pytest.raises(DataError, match=r"^the data has 0 examples; give at least 1\.$"):
            swept(Circuits(), circuits_data(0), "neurons")

    def test_one_example_has_no_error_and_says_so(self) -> None:
        found = swept(Circuits(), circuits_data(1), "hook_hidden[0]", ["zero", "mean", "noise"])
        assert [effect.status for effect in found] == ["one-example"] * 4
        assert [math.isnan(effect.stderr) for effect in found] == [True] * 4
        assert not any(math.isnan(effect.value) for effect in found)

    def test_a_task_without_examples(self) -> None:
        x, y = circuits_data(50)
        y[:, 1] = 0
        found = swept(Circuits(), (x, y), "hook_hidden[0]", "zero", tasks=True)
        assert [(effect.n, effect.status) for effect in found if effect.loss == "circuit:1"] == [(0, "no-examples")] * 2

    def test_values_of_another_shape(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Zero, "values", lambda self, reference, blocks, *, seed: iter([torch.zeros(1, 3, 5)]))
        with pytest.raises(SettingError) as error:
            swept(Circuits(), circuits_data(50), "hook_hidden[0]", "zero")
        assert str(error.value) == (
            "the ablation method 'zero' gave values of shape (1, 3, 5) and type torch.float32; for these activations "
            "it must give (1, 64, 5) or (1, 1, 5) and torch.float32."
        )

    @pytest.mark.parametrize(
        ("settings", "sentence"),
        [
            ({"chunk": 0}, "chunk is 0; give an integer of at least 1."),
            ({"block": 100}, "the block size is 100; give a power of two, such as 64 or 256."),
        ],
    )
    def test_settings(self, settings: dict[str, int], sentence: str) -> None:
        with pytest.raises(SettingError) as error:
            swept(Circuits(), circuits_data(9), "neurons", **settings)
        assert str(error.value) == sentence

    def test_tasks_of_a_module_without_tasks(self) -> None:
        with pytest.raises(SettingError, match="the module has no tasks; give it task_names and per_task_loss, or"):
            swept(Tokens(), tokens_data(9), heads(), tasks=True)

    def test_a_component_without_an_activation(self) -> None:
        with pytest.raises(AddressError, match=r"^'W_in\.weight' has no activation, so it cannot be ablated;"):
            swept(Circuits(), circuits_data(9), ["neurons", "W_in.weight"])

    def test_a_unit_outside_the_activation(self) -> None:
        with pytest.raises(AddressError) as error:
            swept(Tokens(), tokens_data(9), [Component("hook_z[3]", "head", "hook_z", (3,), -2)])
        assert str(error.value) == (
            "'hook_z[3]' is outside the activation of 'hook_z', which has shape (7, 3, 4) per example with its units "
            "on axis -2."
        )

    def test_an_activation_without_examples(self) -> None:
        class Fixed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.positions = nn.Embedding(7, 3)

            def per_example_loss(self, batch: Tensor) -> Tensor:
                return (batch + self.positions(torch.arange(7))[0]).sum(-1)

        with pytest.raises(DataError) as error:
            swept(Fixed(), torch.randn(9, 3), "positions")
        assert str(error.value) == (
            "the activation at 'positions' has shape (7, 3) and type torch.float32 on a batch of 9; an ablation "
            "needs floating point numbers of shape [example, ..., unit]."
        )

    def test_losses_by_task_of_another_shape(self) -> None:
        module = Circuits()
        module.task_names = ("a", "b")
        with pytest.raises(DataError) as error:
            swept(module, circuits_data(9), "neurons", tasks=True)
        assert str(error.value) == (
            "per_task_loss returned losses of shape (9, 3) and counted of shape (9, 3); both must be "
            "[example, task], here (9, 2)."
        )

    def test_a_broken_module_raises_its_own_error(self) -> None:
        class Broken(Circuits):
            def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
                h = self.hook_hidden(batch[0][:, :5])
                if not torch.equal(h, batch[0][:, :5]):
                    raise RuntimeError("it broke")
                return h.sum(-1)

        module = Broken().train()
        before = {name: value.clone() for name, value in module.state_dict().items()}
        state = torch.get_rng_state()
        with pytest.raises(RuntimeError, match="it broke"):
            swept(module, circuits_data(9), "hook_hidden", "zero")
        assert_untouched(module, before, state)

    def test_a_last_partial_block_counts_by_its_examples(self) -> None:
        module, data = Circuits(), circuits_data(300)
        parts = find_components(module, "neurons")
        whole = swept(module, data, parts, tasks=True, block=512)
        split = swept(module, data, parts, tasks=True, block=64)  # four full blocks and one of 44
        for one, other in zip(whole, split, strict=True):
            assert one.n == other.n
            assert (other.value, other.stderr) == pytest.approx((one.value, one.stderr), rel=1e-5, abs=1e-7)
        loss = module.per_example_loss(data).detach().double()
        assert split[0].value == pytest.approx(loss.mean().item(), rel=1e-6)
        mean_of_means = torch.stack([block.mean() for block in loss.split(64)]).mean().item()
        assert abs(split[0].value - mean_of_means) > 1e-4  # the test could tell

    def test_one_block_is_all_there_is(self) -> None:
        module, data = Circuits(), circuits_data(64)
        one = swept(module, data, "neurons", block=64)
        assert [effect.value for effect in one] == pytest.approx(
            [effect.value for effect in swept(module, data, "neurons", block=32)], rel=1e-5, abs=1e-7
        )

    def test_an_activation_that_is_no_number(self) -> None:
        module, (x, y) = Circuits(), circuits_data(100)
        x[7, 2] = math.nan
        found = swept(module, (x, y), ["neurons", "layers"])
        assert {effect.status for effect in found} == {"nan-loss"}
        assert all(math.isnan(effect.value) and math.isnan(effect.stderr) for effect in found)


def test_the_module_and_the_world_are_left_as_they_were() -> None:
    module, data = Images(), images_data(80)
    module.train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    swept(module, data, "neurons")
    assert_untouched(module, before, state)


def assert_untouched(module: nn.Module, before: dict[str, Tensor], state: Tensor) -> None:
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(part.training and not part._forward_hooks and not part._forward_pre_hooks for part in module.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in module.parameters())


def test_halves_and_doubles() -> None:
    data = circuits_data(100)
    single = swept(Circuits(), data, "neurons", per_example=True)
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.bfloat16, 0.3)):
        torch.manual_seed(0)
        module = Circuits()
        torch.manual_seed(0)
        single = swept(Circuits(), data, "neurons", ["zero", "resample"])
        other = swept(module.to(dtype), (data[0].to(dtype), data[1].to(dtype)), "neurons", ["zero", "resample"])
        for one, two in zip(single, other, strict=True):
            assert two.value == pytest.approx(one.value, rel=tolerance, abs=tolerance / 10)
            assert two.status == one.status
