"""The curvature along steps, where it is known."""

import torch

from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.runtime.batches import Params
from llc_lightning.sampling.observables.secant import Secant

N_BETA, GAMMA = 100.0, 1.0
EXAMPLES = torch.zeros(1)


def secant(loss: object, weights: int, data: torch.Tensor = EXAMPLES, **settings: object) -> torch.Tensor:
    record = estimate_llc(
        loss, {"w": torch.zeros(weights)}, data, n_beta=N_BETA, gamma=GAMMA, draws=100, burn_in=20,
        observe=[Secant(lambda: None)], **settings,
    )  # fmt: skip
    return record.observed["secant"][:, -1].double()


def test_on_a_quadratic_it_is_a_mean_of_the_eigenvalues_weighted_by_themselves() -> None:
    curved = torch.tensor([1.0, 0.3, 0.1, 0.0])

    def loss(params: Params, batch: torch.Tensor) -> torch.Tensor:
        return (curved * params["w"].square()).sum() / 2 + 0 * batch

    stiff = N_BETA * curved.double() + GAMMA
    found = secant(loss, 4, step_size=2e-4)
    assert (found < stiff.max()).all()
    assert abs(found.mean().item() / (stiff.square().sum() / stiff.sum()).item() - 1) < 0.1


def test_across_a_kink_it_is_the_jump_of_the_gradient_over_the_step() -> None:
    """Which a curvature of 0 on both sides does not see; it grows as steps become smaller."""

    def loss(params: Params, batch: torch.Tensor) -> torch.Tensor:
        return params["w"].abs().sum() + 0 * batch

    small, large = (secant(loss, 1, step_size=step).mean().item() for step in (1e-5, 1e-3))
    assert small > 3 * large > 100 * GAMMA


def test_on_minibatches_both_gradients_are_of_one_batch() -> None:
    """The noise of additive terms is not taken for curvature."""
    noise = 30 * torch.randn(64, 2, generator=torch.Generator().manual_seed(0))

    def loss(params: Params, batch: torch.Tensor) -> torch.Tensor:
        return params["w"].square().sum() / 2 + batch @ params["w"]

    found = secant(loss, 2, data=noise, step_size=1e-4, batch_size=8)
    assert torch.allclose(found, torch.full_like(found, N_BETA + GAMMA), rtol=1e-3)
