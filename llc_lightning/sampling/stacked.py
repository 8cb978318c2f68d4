"""The loss and its gradient for many chains and lanes at once.

A *lane* is one set of moved weights with its own posterior (a component at an inverse temperature); every lane runs all
chains. Chains differ in their minibatches and noise, which all lanes share: a batch is stacked per chain, and what
depends on frozen weights alone is computed once for all lanes of a chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.graph import CodeGen
from torch.utils import _pytree as pytree

from llc_lightning.runtime.types import Batch, LossFn, Params
from llc_lightning.sampling.patched import PatchedParameters
from llc_lightning.sampling.slices import LANES_PER_TILE, Moved, of_one_unit, stack_index

Stack: TypeAlias = dict[str, Tensor]
"""Moved values by parameter name: [chain, lane, *slice]."""

Function: TypeAlias = Callable[..., Any]


class StackedLoss:
    """A loss over the moved weights of several lanes with one layout, stacked over chains.

    Args:
        loss: The per-example loss.
        params: All parameters at the centre; what is not moved stays as it is here.
        lanes: What each lane moves; all of one layout.

    ``vmapped`` turns False when the loss refuses ``torch.vmap`` (control flow that depends on data): every chain of
    every lane is then run by itself, with the same values.
    """

    def __init__(self, loss: LossFn, params: Params, lanes: Sequence[Moved]) -> None:
        self.layout = lanes[0].layout
        self.lanes = len(lanes)
        self.vmapped = True
        padding = -len(lanes) % LANES_PER_TILE if self.layout.sliced else 0
        self._width = len(lanes) + padding
        padded = [*lanes, *[lanes[-1]] * padding]
        self._index = stack_index(padded)
        self._one_unit = all(of_one_unit(lane) for lane in lanes)
        self._loss = loss
        self._params = params
        self._lane_values = [lane.read(params) for lane in padded]
        self._mapped: dict[tuple[Any, ...], Function] = {}

    def start(self, chains: int) -> Stack:
        """Returns all chains of all lanes at the centre."""
        return {
            form.parameter: torch.stack([values[form.parameter] for values in self._lane_values]).repeat(
                chains, 1, *(1,) * len(form.shape)
            )
            for form in self.layout.forms
        }

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
        arguments = (position, self._index, (batch, baseline))
        excess, *gradient = self._call("gradient", self._excess_and_gradient, arguments, per_chain=per_chain)
        return excess, self._named(gradient)

    def hessian_product(self, position: Stack, vector: Stack, batch: Batch) -> Stack:
        """Returns the product of the Hessian of the mean loss over a shared batch with a vector, per chain and lane."""
        arguments = ({"position": position, "vector": vector}, self._index, batch)
        return self._named(self._call("hessian", self._hessian_product, arguments, per_chain=False))

    def _named(self, values: Sequence[Tensor]) -> Stack:
        return {form.parameter: value for form, value in zip(self.layout.forms, values, strict=True)}

    def _excess_and_gradient(self, values: Params, index: Params, examples: tuple[Batch, Tensor]) -> tuple[Tensor, ...]:
        batch, baseline = examples

        def excess(values: Params) -> Tensor:
            return (self._at(values, index, batch) - baseline).mean()

        gradient, value = torch.func.grad_and_value(excess)(values)
        return (value, *(gradient[form.parameter] for form in self.layout.forms))

    def _hessian_product(self, state: dict[str, Params], index: Params, batch: Batch) -> tuple[Tensor, ...]:
        def gradient(values: Params) -> Params:
            return torch.func.grad(mean)(values)

        def mean(values: Params) -> Tensor:
            return self._at(values, index, batch).mean()

        # Reverse over reverse: forward-mode derivatives are missing for some operators (attention kernels).
        pull: Function = torch.func.vjp(gradient, state["position"])[1]
        (product,) = pull(state["vector"])
        return tuple(product[form.parameter] for form in self.layout.forms)

    def _at(self, values: Params, index: Params, batch: Batch) -> Tensor:
        if not self.layout.sliced:
            return self._loss({**self._params, **values}, batch)
        with PatchedParameters(self._params, self.layout.forms, index, values, one_unit=self._one_unit):
            return self._loss(dict(self._params), batch)

    def _call(self, name: str, function: Function, arguments: tuple[Any, ...], *, per_chain: bool) -> Sequence[Tensor]:
        """Returns the function of (values, index, batch), mapped over chains and lanes; traced once per shape."""
        leaves = _leaves(arguments)
        key = (name, *(leaf.shape for leaf in leaves))
        if key not in self._mapped:
            self._mapped[key] = self._traced_or_looped(function, arguments, per_chain)
        return self._mapped[key](*leaves)

    def _traced_or_looped(self, function: Function, arguments: tuple[Any, ...], per_chain: bool) -> Function:
        chain_axis = 0 if per_chain else None
        if self.layout.sliced:
            mapped = torch.vmap(torch.vmap(function, (0, 0, None)), (0, None, chain_axis))
        else:

            def whole(values: Any, batch: Any) -> Any:
                return function(values, {}, batch)

            mapped = _without_lane_axis(torch.vmap(whole, (0, chain_axis)))
        try:
            return _traced(_flat(mapped, arguments), arguments)
        except Exception:
            self.vmapped = False
            return _flat(_looped(function, per_chain), arguments)


def _flat(function: Function, arguments: tuple[Any, ...]) -> Function:
    """Returns the function with the tensors of its nested arguments in a row."""
    form = pytree.tree_structure(arguments)
    return lambda *leaves: function(*pytree.tree_unflatten(leaves, form))


def _traced(flat: Function, arguments: tuple[Any, ...]) -> Function:
    """Returns the function as a graph of tensor operations: the same bits at half the overhead."""
    graph = make_fx(flat)(*_leaves(arguments))
    # The graph's own packing of arguments costs as much as a small network: tensors go in and come out in a row.
    graph.graph.set_codegen(CodeGen())
    graph.recompile()
    return graph


def _leaves(tree: Any) -> list[Tensor]:
    """Returns the tensors of a nest of tuples and dicts in pytree's order, several times faster than pytree."""
    if isinstance(tree, Tensor):
        return [tree]
    members: Iterable[Any] = cast("dict[str, Any]", tree).values() if isinstance(tree, dict) else tree
    return [leaf for member in members for leaf in _leaves(member)]


def _select(tree: Any, index: Any) -> Any:
    """Returns the nest with every tensor indexed."""

    def entry(leaf: Tensor) -> Tensor:
        return leaf[index]

    return pytree.tree_map(entry, tree)


def _without_lane_axis(mapped: Function) -> Function:
    """Runs whole-tensor lanes one after the other, so that each keeps the shapes it has alone."""

    def call(values: Any, index: Params, batch: Any) -> tuple[Tensor, ...]:
        lanes = _leaves(values)[0].shape[1]
        results = [mapped(_select(values, (slice(None), lane)), batch) for lane in range(lanes)]
        return tuple(torch.stack(parts, dim=1) for parts in zip(*results, strict=True))

    return call


def _looped(function: Function, per_chain: bool) -> Function:
    """Runs every chain of every lane by itself."""

    def call(values: Any, index: Params, batch: Any) -> tuple[Tensor, ...]:
        chains, lanes = _leaves(values)[0].shape[:2]
        rows: list[tuple[Tensor, ...]] = []
        for chain in range(chains):
            examples = _select(batch, chain) if per_chain else batch
            cells = [
                function(
                    _select(values, (chain, lane)),
                    {name: where[lane] for name, where in index.items()},
                    examples,
                )
                for lane in range(lanes)
            ]
            rows.append(tuple(torch.stack(parts) for parts in zip(*cells, strict=True)))
        return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))

    return call
