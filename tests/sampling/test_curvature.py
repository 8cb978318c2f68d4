"""The spectrum of the curvature: all of it, and its quadratures, against eigenvalues of the matrix itself."""

import pytest
import torch
from torch import Tensor

from llc_lightning.sampling.curvature import Krylov, Product, Spectrum, all_of, flat, mean_of, probe, signs
from llc_lightning.sampling.stacked import Stack

CHAINS, LANES = 2, 3


def matrices(dimension: int, seed: int = 0) -> Tensor:
    made = torch.randn(CHAINS, LANES, dimension, dimension, generator=torch.Generator().manual_seed(seed)).double()
    return made @ made.mT / dimension


def operator(matrix: Tensor) -> Product:
    """Acts on two parameters that the first half and the rest of the dimensions are."""
    half = matrix.shape[-1] // 2

    def product(vector: Stack) -> Stack:
        image = (matrix @ torch.cat([vector["a"], vector["b"]], -1)[..., None])[..., 0]
        return {"a": image[..., :half], "b": image[..., half:]}

    return product


def zeros(dimension: int) -> Stack:
    half = dimension // 2
    return {"a": torch.zeros(CHAINS, LANES, half).double(), "b": torch.zeros(CHAINS, LANES, dimension - half).double()}


def test_all_of_a_small_operator_is_its_eigenvalues_and_vectors() -> None:
    matrix = matrices(5)
    nodes, vectors = all_of(operator(matrix), zeros(5))
    assert torch.allclose(nodes, torch.linalg.eigvalsh(matrix))
    assert torch.allclose(vectors @ torch.diag_embed(nodes) @ vectors.mT, matrix)


def test_with_all_products_the_quadratures_are_exact() -> None:
    """Of v^T f(A) v, and of v^T f(A) u for another vector u, also where the first product is known."""
    matrix = matrices(6)
    start, other = probe(zeros(6), 0), probe(zeros(6), 0, 1)
    values, vectors = torch.linalg.eigh(matrix)
    applied = vectors @ torch.diag_embed(1 / (1 + values)) @ vectors.mT @ flat(start)[..., None]
    for image in (None, operator(matrix)(start)):
        krylov = Krylov(operator(matrix), start, image=image, other=other)
        found = krylov.spectrum(6)
        own = found.norm2 * (found.weights / (1 + found.nodes)).sum(-1)
        assert torch.allclose(own, (flat(start)[..., None, :] @ applied)[..., 0, 0])
        across = (krylov.bilinear(6) / (1 + found.nodes)).sum(-1)
        assert torch.allclose(across, (flat(other)[..., None, :] @ applied)[..., 0, 0])


def test_products_end_where_what_they_serve_changes_no_more_and_each_lane_has_what_it_has_alone() -> None:
    matrix = matrices(30)
    matrix[0, 1] = torch.eye(30).double()  # known by one product

    def served(spectrum: Spectrum) -> Tensor:
        return (spectrum.weights / (0.1 + spectrum.nodes)).sum(-1) / 0.05

    together = Krylov(operator(matrix), probe(zeros(30), 0)).served(served, 12)
    few = {name: value[:1, 1:2] for name, value in probe(zeros(30), 0).items()}
    alone = Krylov(operator(matrix[:1, 1:2]), few).served(served, 12)
    products = (together.weights != 0).sum(-1)
    assert products[0, 1] <= 3 < products.max()
    assert torch.equal(served(alone)[0, 0], served(together)[0, 1])
    exact = flat(probe(zeros(30), 0))[..., None, :] @ torch.linalg.inv(matrix + 0.1 * torch.eye(30).double())
    exact = (exact @ flat(probe(zeros(30), 0))[..., None])[..., 0, 0] / together.norm2
    assert (served(together) * 0.05 - exact).abs().max() < 0.2 * exact.max()


def test_what_a_lane_is_told_does_not_hang_on_those_beside_it_to_the_bit() -> None:
    start = probe(zeros(30), 0)
    # Spectra of several widths, multiplied entry by entry, whose digits are the same for any number of lanes.
    width = torch.tensor([0.01, 3.0, 300.0]).double()[:, None]
    values = {name: 1 + width * torch.linspace(0, 1, value.shape[-1]) for name, value in start.items()}

    def served(spectrum: Spectrum) -> Tensor:
        return (spectrum.weights / (0.1 + spectrum.nodes)).sum(-1) / 0.005

    def told(lanes: slice) -> Spectrum:
        own = {name: value[lanes] for name, value in values.items()}
        product = lambda stack: {name: own[name] * value for name, value in stack.items()}  # noqa: E731
        return Krylov(product, {name: value[:, lanes] for name, value in start.items()}).served(served, 16)

    together = told(slice(None))
    assert len({*(together.weights != 0).sum(-1).flatten().tolist()}) > 1, "as many products for all show nothing"
    for lane in range(together.norm2.shape[1]):
        alone = told(slice(lane, lane + 1))
        assert torch.equal(alone.nodes[:, 0], together.nodes[:, lane])
        assert torch.equal(alone.weights[:, 0], together.weights[:, lane])


@pytest.mark.parametrize("dimension", [2, 10, 101])
def test_normal_vectors_meet_a_sum_of_weights_which_half_of_all_signs_miss_in_two(dimension: int) -> None:
    like = {"w": torch.zeros(1, 1, dimension)}
    met = [probe(like, seed)["w"].sum().abs().item() for seed in range(40)]
    assert min(met) > 0
    assert {float(value) for value in signs(like, 0)["w"].flatten()} <= {-1.0, 1.0}
    if dimension == 2:
        assert 10 < sum(signs(like, seed)["w"].sum() == 0 for seed in range(40)) < 30


def test_the_mean_of_quadratures_is_that_of_what_they_tell() -> None:
    matrix = matrices(8)
    found = [Krylov(operator(matrix), probe(zeros(8), seed)).spectrum(4) for seed in range(3)]
    both = mean_of(found)
    assert torch.allclose(both.weights.sum(-1), torch.ones(CHAINS, LANES).double())
    means = torch.stack([(one.weights * one.nodes).sum(-1) for one in found]).mean(0)
    assert torch.allclose((both.weights * both.nodes).sum(-1), means)
