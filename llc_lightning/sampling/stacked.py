"""The loss and its gradient for many chains and lanes at once.

A *lane* is one set of moved weights with its own posterior (a component at an inverse temperature); every lane runs all
chains. Chains differ in their minibatches and noise, which all lanes share: a batch is stacked per chain, and what
depends on frozen weights alone is computed once for all lanes of a chain.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.graph import CodeGen
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from llc_lightning.runtime.batches import Batch, LossFn, Params, chunks, n_examples, take
from llc_lightning.runtime.errors import SettingError, one_line
from llc_lightning.runtime.graph import first_result, reusing, traced, unlisted
from llc_lightning.runtime.graph_split import SplitGraph
from llc_lightning.sampling.patched import PatchedParameters
from llc_lightning.sampling.slices import Moved, of_one_unit, stack_index

Stack: TypeAlias = dict[str, Tensor]
"""Moved values by parameter name: [chain, lane, *slice]."""

Function: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Prepared:
    """A function of tensors in a row, whether it is vmapped, and its graph where it could be traced."""

    call: Function
    vmapped: bool
    graph: GraphModule | None = None


class Graphs(dict[tuple[Any, ...], Prepared]):
    """By what they are made for."""

    def __init__(self) -> None:
        super().__init__()
        self.split: dict[tuple[Any, ...], SplitGraph | None] = {}
        """Graphs in two parts, None where none could be traced; graphs outlive the lanes that they were made for."""
        self.asked: Counter[tuple[Any, ...]] = Counter()
        """How often one was asked for that takes long to make."""


_REFUSED = (RuntimeError, ValueError, TypeError)
"""What vmap raises on control flow that depends on the chain."""

_BLOCK = 512
_SLICED_BLOCK = 256
"""Hessian products take a batch in blocks: the activations of a batch of sliced lanes then stay in a CPU's cache."""
_KEPT = 2
"""Gradients that are kept with their graphs: chains times blocks."""
_OFTEN = 32
"""Positions from which on the products of a single lane have saved as much as their graph takes to make."""
_MOST_KEPT = 1 << 26
"""Bytes up to which what a batch alone decides is kept between positions."""
_MOST_BATCHES = 4
"""Batches of which that is kept."""


class StackedLoss:
    """A loss over the moved weights of several lanes with one layout, stacked over chains.

    Args:
        loss: The per-example loss.
        params: All parameters at the centre; what is not moved stays as it is here.
        lanes: What each lane moves; all of one layout.
        graphs: What was prepared for other lanes of the same loss, to be used again where the layout is the same.

    ``vmapped`` turns False when the loss refuses ``torch.vmap`` (control flow that depends on data): every chain of
    every lane is then run by itself, with the same values.
    """

    def __init__(self, loss: LossFn, params: Params, lanes: Sequence[Moved], *, graphs: Graphs | None = None) -> None:
        self.layout = lanes[0].layout
        self.lanes = len(lanes)
        self.vmapped = True
        # Full to the same width always, so that a lane has the bits that it has alone.
        padding = -len(lanes) % self.layout.lanes_per_batch if self.layout.sliced else 0
        self._width = len(lanes) + padding
        padded = [*lanes, *[lanes[-1]] * padding]
        self._index = stack_index(padded)
        self._one_unit = all(of_one_unit(lane) for lane in lanes)
        self._loss = loss
        self._params = params
        self._padded = padded
        # Arguments of every call and not constants of its graph, which other lanes of the same loss then use as well.
        self._fixed = _leaves((self._index, params))
        self._graphs = Graphs() if graphs is None else graphs
        self._shared: dict[tuple[Any, ...], _Shared | None] = {}

    @cached_property
    def centre(self) -> Stack:
        """All lanes at the centre, [1, lane, *slice]; not to be changed, since whole tensors are not copied."""
        return self._read(self._params)

    def start(self, chains: int, params: Params | None = None) -> Stack:
        """Returns all chains of all lanes at the centre, or where other parameters are."""
        at = self.centre if params is None else self._read(params)
        return {name: value.repeat(chains, *(1,) * (value.ndim - 1)) for name, value in at.items()}

    def _read(self, params: Params) -> Stack:
        values = [lane.read(params) for lane in self._padded]
        names = [form.parameter for form in self.layout.forms]
        return {name: joined([value[name][None] for value in values])[None] for name in names}

    @property
    def width(self) -> int:
        """The number of stacked lanes, padding included; drop what lies beyond ``lanes``."""
        return self._width

    def excess_and_gradient(
        self, position: Stack, batch: Batch, baseline: Tensor, *, per_chain: bool
    ) -> tuple[Float[Tensor, "chain lane"], Stack]:
        """Returns the mean loss in excess of the baseline, and the gradient of the mean loss.

        Args:
            position: The moved weights.
            batch: Examples, with a leading chain axis where ``per_chain``; else shared by all chains.
            baseline: The losses of the same examples at the centre. Subtracting them example by example, before the
                mean, pairs the difference and keeps float32 from rounding it away.
            per_chain: Whether batch and baseline are stacked over chains.
        """
        examples = (batch, baseline)
        excess, *gradient = self._call("gradient", self._excess_and_gradient, position, examples, per_chain=per_chain)
        return excess, self._named(gradient)

    def excess(
        self, position: Stack, batch: Batch, baseline: Tensor, *, per_chain: bool
    ) -> Float[Tensor, "chain lane"]:
        """Returns the excess alone, as :meth:`excess_and_gradient` does."""
        return self._call("excess", self._excess, position, (batch, baseline), per_chain=per_chain)[0]

    def losses(self, position: Stack, batch: Batch, *, per_chain: bool) -> Float[Tensor, "chain lane example ..."]:
        """Returns the loss of every example, or whatever the loss function gives for each of them.

        Args:
            position: The moved weights.
            batch: Examples, with a leading chain axis where ``per_chain``; else shared by all chains.
            per_chain: Whether the batch is stacked over chains.
        """
        return self._call("losses", self._losses, position, batch, per_chain=per_chain)[0]

    def losses_of_shared(self, position: Stack, batch: Batch) -> Float[Tensor, "chain lane example ..."]:
        """Returns the losses of a batch that all chains share, which is asked for at many positions: the same bits.

        What the batch and the frozen weights alone decide is computed once and kept, unless it is large or there are
        others since, until :meth:`forget`.
        """
        examples, values = _leaves(batch), _leaves(position)
        key = (*((id(one), _version(one)) for one in examples), *self._key(values))
        if key not in self._shared:
            self._shared[key] = self._prepared_of_shared(position, batch)
            while len(self._shared) > _MOST_BATCHES:
                del self._shared[next(iter(self._shared))]
        shared = self._shared[key]
        if shared is None:
            return self.losses(position, batch, per_chain=False)
        with torch.no_grad():
            return shared.graph(shared.prepared, values)[0]

    def forget(self) -> None:
        """Keeps nothing any more of the batches that chains share."""
        self._shared.clear()

    def _prepared_of_shared(self, position: Stack, batch: Batch) -> "_Shared | None":
        examples = _leaves(batch)
        key = ("shared", *self._key([*_leaves(position), *examples]))
        fixed = [*examples, *self._fixed]
        if key not in self._graphs.split:
            call = self._in_a_row(self._mapped(self._losses, per_chain=False), position, batch)
            values = [value.clone() for value in _leaves(position)]  # a tensor that comes twice would be traced as one

            def losses(known: list[Tensor], varying: list[Tensor]) -> tuple[Tensor, ...]:
                return tuple(call(*varying, *known))

            self._graphs.split[key] = _split(losses, fixed, values)
        graph = self._graphs.split[key]
        if graph is None:
            return None
        with torch.no_grad():
            prepared = graph.prepare(fixed)
        given = {tensor.untyped_storage().data_ptr() for tensor in fixed}
        made = {one.data_ptr(): one.nbytes() for one in (tensor.untyped_storage() for tensor in prepared)}
        large = sum(size for where, size in made.items() if where not in given) > _MOST_KEPT
        return None if large else _Shared(examples, graph, prepared)

    def hessian(self, position: Stack, batch: Batch) -> Function:
        """Returns the Hessian of the mean loss over a shared batch, as a function from stacks of vectors to stacks.

        A product is the gradient's own backward pass (Pearlmutter 1994). For few chains and blocks the gradient is
        taken once, and kept with its graph; else it is taken again for every product. Of many lanes it is traced, and
        of one where it is asked for often.
        """
        chains = next(iter(position.values())).shape[0]
        blocks = list(chunks(n_examples(batch), _SLICED_BLOCK if self.layout.sliced else _BLOCK))

        def slopes(chain: int, block: slice) -> _Slopes | _TracedSlopes:
            share = (block.stop - block.start) / n_examples(batch)
            at, examples = chain_of(position, chain), take(batch, block)
            # A single lane has its share before the derivatives whether it is traced or not: the bits differ.
            alone = self._width == 1
            graph = self._product_graph(at, examples, share if alone else 1.0) if self._traces else None
            if graph is None:
                return _Slopes(partial(self._mean_losses, index=self._index, frozen=self._params), at, examples, share)
            leaves = [*_leaves(at), *_leaves(examples), *self._fixed]
            return _TracedSlopes(graph, leaves, 1.0 if alone else share)

        # A kept graph holds the activations of its chain and block.
        few = chains * len(blocks) <= _KEPT
        kept = [[slopes(chain, block) for block in blocks] for chain in range(chains)] if few else []

        def product(vector: Stack) -> Stack:
            rows = [
                [
                    one.along(chain_of(vector, chain))
                    for one in (kept[chain] if kept else (slopes(chain, block) for block in blocks))
                ]
                for chain in range(chains)
            ]
            totals = [[sum(parts[1:], parts[0]) for parts in zip(*row, strict=True)] for row in rows]
            return self._named([joined(parts) for parts in zip(*totals, strict=True)])

        return product

    @property
    def _traces(self) -> bool:
        return self.layout.sliced and self.vmapped

    def _product_graph(self, at: Stack, batch: Batch, share: float) -> SplitGraph | None:
        """Returns the Hessian's product traced: what depends on the position, and what on the vector.

        It gives the bits of the product itself, with the mean losses times ``share``. None if it fails, or is not worth
        it yet.
        """
        key = ("product", share, *self._key(_leaves((at, batch))))
        if self._width == 1:
            self._graphs.asked[key] += 1
            if self._graphs.asked[key] <= _OFTEN:
                return None
        if key not in self._graphs.split:
            form = pytree.tree_structure((at, batch, self._index, self._params))

            def product(fixed: list[Tensor], vector: list[Tensor]) -> tuple[Tensor, ...]:
                position, examples, index, frozen = pytree.tree_unflatten(fixed, form)

                def mean_loss(values: Stack) -> Tensor:
                    total = self._mean_losses(values, examples, index=index, frozen=frozen).sum()
                    return total if share == 1 else total * share

                pulled: Function = torch.func.vjp(torch.func.grad(mean_loss), position)[1]
                (image,) = pulled(dict(zip(position, vector, strict=True)))
                return tuple(image.values())

            fixed = [*_leaves((at, batch)), *self._fixed]
            vector = [value.clone() for value in _leaves(at)]  # a tensor that comes twice would be traced as one
            self._graphs.split[key] = _split(product, fixed, vector)
        return self._graphs.split[key]

    def _mean_losses(self, position: Stack, batch: Batch, *, index: Params, frozen: Params) -> Float[Tensor, "lane"]:
        """Returns the mean loss of every lane at the position of one chain; differentiable twice."""
        lanes = {name: value[0] for name, value in position.items()}

        def mean(values: Params, index: Params) -> Tensor:
            with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
                return self._at(values, index, batch, frozen).mean()

        def one(lane: int) -> Tensor:
            return mean(_select(lanes, lane), {name: where[lane] for name, where in index.items()})

        if self.layout.sliced and self.vmapped:
            with suppress(*_REFUSED):  # what is wrong itself is raised below
                return torch.vmap(mean, (0, 0))(lanes, dict(index))
            self.vmapped = False
        return torch.stack([one(lane) for lane in range(self._width)])

    def _named(self, values: Sequence[Tensor]) -> Stack:
        return {form.parameter: value for form, value in zip(self.layout.forms, values, strict=True)}

    def _excess_and_gradient(
        self, values: Params, index: Params, examples: tuple[Batch, Tensor], frozen: Params
    ) -> tuple[Tensor, ...]:
        def excess(values: Params) -> Tensor:
            return self._excess(values, index, examples, frozen)[0]

        gradient, value = torch.func.grad_and_value(excess)(values)
        return (value, *(gradient[form.parameter] for form in self.layout.forms))

    def _excess_and_gradient_alone(
        self, values: Params, index: Params, examples: tuple[Batch, Tensor], frozen: Params
    ) -> tuple[Tensor, ...]:
        """Returns the same by plain autograd: some kernels, as those of packed sequences, refuse transforms."""
        with torch.enable_grad():
            at = {name: value.detach().requires_grad_() for name, value in values.items()}
            value = self._excess(at, index, examples, frozen)[0]
            return (value.detach(), *_derivatives([value], [at[form.parameter] for form in self.layout.forms]))

    def _excess(self, values: Params, index: Params, examples: tuple[Batch, Tensor], frozen: Params) -> tuple[Tensor]:
        batch, baseline = examples
        return ((self._at(values, index, batch, frozen) - baseline).mean(),)

    def _losses(self, values: Params, index: Params, batch: Batch, frozen: Params) -> tuple[Tensor]:
        return (self._at(values, index, batch, frozen).detach(),)

    def _at(self, values: Params, index: Params, batch: Batch, frozen: Params) -> Tensor:
        if not self.layout.sliced:
            return self._loss({**frozen, **values}, batch)
        patched = PatchedParameters(frozen, self.layout.forms, index, values, one_unit=self._one_unit)
        # vmap runs fused attention one by one, of which many lanes are too many.
        with sdpa_kernel(SDPBackend.MATH) if self._width > 1 else nullcontext(), patched:
            return self._loss(dict(frozen), batch)

    def _call(self, name: str, function: Function, values: Any, batch: Any, *, per_chain: bool) -> Sequence[Tensor]:
        """Returns the function of (values, index, batch, frozen), over chains and lanes; prepared once per shape."""
        # Tracing costs much more than a call: once for all lanes of a loss that look alike to a graph.
        leaves = [*_leaves(values), *_leaves(batch)]
        key = (name, per_chain, *self._key(leaves))
        if key not in self._graphs:
            graph = self._gradient_graph(key[1:], values, batch, per_chain) if name == "excess" else None
            self._graphs[key] = (
                _of_graph(first_result(graph)) if graph else self._prepared(name, function, values, batch, per_chain)
            )
        prepared = self._graphs[key]
        self.vmapped = self.vmapped and prepared.vmapped
        return prepared.call(*leaves, *self._fixed)

    def _key(self, leaves: Sequence[Tensor]) -> tuple[Any, ...]:
        """Returns all that a graph of these tensors depends on, beside the loss and what is done with it."""
        return (
            self.layout,
            self._width,
            self._one_unit,
            *((leaf.shape, leaf.stride(), leaf.dtype, leaf.device) for leaf in leaves),
        )

    def _gradient_graph(self, key: tuple[Any, ...], values: Any, batch: Any, per_chain: bool) -> GraphModule | None:
        """Returns the graph of the excess and its gradient; without gradients, torch can take other products."""
        whole = ("gradient", *key)
        if whole not in self._graphs:
            self._graphs[whole] = self._prepared("gradient", self._excess_and_gradient, values, batch, per_chain)
        return self._graphs[whole].graph

    def _prepared(self, name: str, function: Function, values: Any, batch: Any, per_chain: bool) -> Prepared:
        """Returns the function of the tensors in its arguments: traced, or as it is, or chain by chain."""
        call = self._in_a_row(self._mapped(function, per_chain=per_chain), values, batch)
        leaves = [*_leaves(values), *_leaves(batch), *self._fixed]
        with suppress(Exception), _unrolling():  # tracing is for speed alone, and fails in many ways
            prepared = _of_graph(traced(call, *leaves))
            prepared.call(*leaves)  # some operators trace on fake tensors and fail on real ones
            return prepared
        try:
            call(*leaves)
            return Prepared(call, vmapped=True)
        except _REFUSED:  # what is wrong itself is raised below
            single = self._excess_and_gradient_alone if name == "gradient" else function
            return Prepared(self._in_a_row(_looped(single, per_chain), values, batch), vmapped=False)

    def _mapped(self, function: Function, *, per_chain: bool) -> Function:
        """Returns a function of (values, index, batch, frozen) over chains and lanes."""
        chain_axis = 0 if per_chain else None
        if self.layout.sliced:
            return torch.vmap(torch.vmap(function, (0, 0, None, None)), (0, None, chain_axis, None))
        return _without_lane_axis(torch.vmap(function, (0, None, chain_axis, None)))

    def _in_a_row(self, over: Function, values: Any, batch: Any) -> Function:
        """Returns it as a function of tensors in a row, which a graph takes: what they were nested in is put back."""
        form = pytree.tree_structure((values, batch, self._index, self._params))

        def call(*leaves: Tensor) -> Sequence[Tensor]:
            values, batch, index, frozen = pytree.tree_unflatten(leaves, form)
            with _unrolling():
                return over(values, index, batch, frozen)

        return call


@contextmanager
def _unrolling() -> Generator[None]:
    """Keeps vmap from telling at every step which operators it unrolls, as fused attention on processors."""
    functorch: Any = cast("Any", torch._C)._functorch  # pyright: ignore[reportPrivateUsage]
    # A filter of warnings would be one more for every step, and let the loss's own warnings through each time.
    functorch._set_vmap_fallback_warning_enabled(False)
    try:
        yield
    finally:
        functorch._set_vmap_fallback_warning_enabled(True)


@dataclass(frozen=True)
class _Shared:
    """What a batch decides of the losses of chains that share it, and the graph of the rest."""

    examples: list[Tensor]
    """Held, so that nothing else has their identity."""
    graph: SplitGraph
    prepared: tuple[Tensor, ...]


class _Slopes:
    """The gradient of the mean losses of one chain's lanes at a position, with its graph.

    Args:
        mean_losses: Of the lanes, as a function of position and batch.
        position: [1, lane, *slice].
        batch: The examples.
        share: What the mean losses are multiplied by.
    """

    def __init__(
        self, mean_losses: Callable[[Stack, Batch], Tensor], position: Stack, batch: Batch, share: float
    ) -> None:
        with torch.enable_grad():
            self._at = [value.detach().requires_grad_() for value in position.values()]
            total = mean_losses(dict(zip(position, self._at, strict=True)), batch).sum() * share
            self._gradient = _derivatives([total], self._at, create_graph=True)

    def along(self, vector: Stack) -> list[Tensor]:
        """Returns the derivative of the gradient along a vector: the Hessian's product, since it is symmetric."""
        return _derivatives(self._gradient, self._at, list(vector.values()), retain_graph=True)


class _TracedSlopes:
    """The same as :class:`_Slopes`, traced.

    Args:
        graph: Of the product.
        at: Position, batch and what else it depends on, in a row.
        share: What the mean losses are multiplied by.
    """

    def __init__(self, graph: SplitGraph, at: list[Tensor], share: float) -> None:
        self._graph = graph
        self._share = share
        with torch.no_grad():
            self._prepared = graph.prepare(at)

    def along(self, vector: Stack) -> list[Tensor]:
        """Returns the derivative of the gradient along a vector."""
        with torch.no_grad():
            return [image * self._share for image in self._graph(self._prepared, list(vector.values()))]


def _split(function: Function, fixed: list[Tensor], varying: list[Tensor]) -> SplitGraph | None:
    with suppress(Exception):  # tracing is for speed alone, and fails in many ways
        graph = SplitGraph(function, fixed, varying)
        graph(graph.prepare(fixed), varying)  # some operators trace on fake tensors and fail on real ones
        return graph
    return None


@unlisted()
def _of_graph(graph: GraphModule) -> Prepared:
    call = reusing(graph)
    if call is graph:  # whose own packing of arguments costs as much as a small network
        call.graph.set_codegen(CodeGen())
        call.recompile()
    # Not by the module's own call, which prints what it raises: the first call is a trial.
    return Prepared(call.forward, vmapped=True, graph=graph)


def _derivatives(
    outputs: Sequence[Tensor], at: list[Tensor], along: Sequence[Tensor] | None = None, **how: bool
) -> list[Tensor]:
    """Returns the gradient of the sum of outputs (along vectors), zero where they do not depend on a tensor.

    Raises:
        SettingError: If torch knows no derivative of an operation, as of some losses no second one.
    """
    curved = [i for i, output in enumerate(outputs) if output.requires_grad]
    if not curved:
        return [torch.zeros_like(value) for value in at]
    vectors = None if along is None else [along[i] for i in curved]
    some = [outputs[i] for i in curved]
    try:
        return list(torch.autograd.grad(some, at, vectors, allow_unused=True, materialize_grads=True, **how))
    except (NotImplementedError, RuntimeError) as error:
        if "is not implemented" not in str(error):
            raise
        raise SettingError(
            f"torch differentiates the loss once and not twice ({one_line(error)}), which the curvature needs; write "
            "it with operations that have second derivatives, such as arithmetic, exp, relu and logsumexp."
        ) from error


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """Returns tensors along their first axis, contiguous; a single one is not copied where it is so already."""
    return tensors[0].contiguous() if len(tensors) == 1 else torch.cat(tuple(tensors))


def chain_of(stack: Stack, number: int) -> Stack:
    """Returns one chain of a stack, its axis kept."""
    return {name: value[number : number + 1] for name, value in stack.items()}


def _leaves(tree: Any) -> list[Tensor]:
    """Returns the tensors of a nest of tuples and dicts in pytree's order, several times faster than pytree."""
    if isinstance(tree, Tensor):
        return [tree]
    members: Iterable[Any] = cast("dict[str, Any]", tree).values() if isinstance(tree, dict) else tree
    return [leaf for member in members for leaf in _leaves(member)]


def _version(tensor: Tensor) -> int:
    """Returns what changes when a tensor is written to; tensors of inference mode do not tell."""
    return 0 if tensor.is_inference() else tensor._version


def _select(tree: Any, index: Any) -> Any:
    """Returns the nest with every tensor indexed."""

    def entry(leaf: Tensor) -> Tensor:
        return leaf[index]

    return pytree.tree_map(entry, tree)


def _without_lane_axis(mapped: Function) -> Function:
    """Runs whole-tensor lanes one after the other, so that each keeps the shapes it has alone."""

    def call(values: Any, index: Params, batch: Any, frozen: Params) -> tuple[Tensor, ...]:
        lanes = _leaves(values)[0].shape[1]
        results = [mapped(_select(values, (slice(None), lane)), {}, batch, frozen) for lane in range(lanes)]
        if lanes == 1:
            return tuple(part.unsqueeze(1) for part in results[0])
        return tuple(torch.stack(parts, dim=1) for parts in zip(*results, strict=True))

    return call


def _looped(function: Function, per_chain: bool) -> Function:
    """Runs every chain of every lane by itself."""

    def call(values: Any, index: Params, batch: Any, frozen: Params) -> tuple[Tensor, ...]:
        chains, lanes = _leaves(values)[0].shape[:2]
        rows: list[tuple[Tensor, ...]] = []
        for chain in range(chains):
            examples = _select(batch, chain) if per_chain else batch
            cells = [
                function(
                    _select(values, (chain, lane)),
                    {name: where[lane] for name, where in index.items()},
                    examples,
                    frozen,
                )
                for lane in range(lanes)
            ]
            rows.append(tuple(torch.stack(parts) for parts in zip(*cells, strict=True)))
        return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))

    return call
