"""Exact values against tables, against each other, and against sampling the posterior in another way."""

import pytest
import torch
from scipy.integrate import dblquad

from llc_lightning.llc.exact import (
    displaced_value,
    normal_crossing_value,
    quadratic_sgld_value,
    quadratic_value,
    reduced_rank_value,
)
from llc_lightning.runtime.errors import SettingError

CURVATURE = [1.0] * 5 + [0.1] * 5 + [0.01] * 5 + [0.0] * 5
RESOLUTION = {"n_beta": 100.0, "gamma": 1.0}

# Computed elsewhere by quadrature with 30 digits and on logarithmic grids; prior exp(-|w|^2 / 2).
CROSSINGS = {
    (1,): (0.4761905, 0.4975124, 0.4997501, 0.4999975),
    (2,): (0.2249027, 0.2417176, 0.2473449, 0.2497330),
    (3,): (0.1437770, 0.1556173, 0.1614433, 0.1655272),
    (1, 1): (0.2902743, 0.3542038, 0.3902727, 0.4270527),
    (1, 2): (0.173435, 0.205712, 0.224851, 0.242013),
    (2, 2): (0.122537, 0.147135, 0.165238, 0.188429),
}
# By Gauss-Laguerre quadrature, which is good to five digits at the largest n_beta.
REDUCED_RANK = {
    (1, 1, 1): (0.262580, 0.338768, 0.381344, 0.423169),
    (2, 1, 2): (0.664559, 0.794464, 0.858206, 0.914012),
    (3, 1, 2): (0.821931, 0.939436, 0.980397, 0.998020),
    (2, 2, 2): (1.155025, 1.356326, 1.441763, 1.491046),
}
N_BETAS = (10.0, 100.0, 1000.0, 1e5)


class TestQuadratic:
    def test_each_curved_direction_gives_half_less_what_the_localisation_holds(self) -> None:
        assert quadratic_value(CURVATURE, **RESOLUTION) == pytest.approx(5.99797480, abs=1e-8)

    @pytest.mark.parametrize(
        ("noise", "expected"),
        [(0.0, (6.06898635, 6.90464396, 8.66812872)), (50.0, (6.14484868, 7.76772445, 10.83516090))],
    )
    def test_the_bias_of_three_step_sizes(self, noise: float, expected: tuple[float, ...]) -> None:
        values = [
            quadratic_sgld_value(CURVATURE, **RESOLUTION, step_size=step, gradient_noise=noise)
            for step in (0.001, 0.01, 0.02)
        ]
        assert values == pytest.approx(expected, abs=1e-7)

    def test_a_vanishing_step_size_has_no_bias(self) -> None:
        value = quadratic_sgld_value(CURVATURE, **RESOLUTION, step_size=1e-12, gradient_noise=50.0)
        assert value == pytest.approx(quadratic_value(CURVATURE, **RESOLUTION))

    def test_the_way_to_equilibrium_follows_the_recursion_of_the_variance(self) -> None:
        step, noise, a = 0.01, 7.0, 100.0 * 0.1 + 1.0
        variance, expected = 0.0, []
        for _ in range(6):
            expected.append(100.0 * 0.1 * variance / 2)
            variance = (1 - step * a / 2) ** 2 * variance + step + step**2 * noise / 4
        for draws in (range(1), range(1, 2), range(6), range(2, 5)):
            value = quadratic_sgld_value([0.1], **RESOLUTION, step_size=step, gradient_noise=noise, draws=draws)
            assert value == pytest.approx(sum(expected[t] for t in draws) / len(draws))
        late = quadratic_sgld_value([0.1], **RESOLUTION, step_size=step, draws=range(9000, 9001))
        assert late == pytest.approx(quadratic_sgld_value([0.1], **RESOLUTION, step_size=step))

    def test_beyond_the_limit_of_stability_there_is_no_value(self) -> None:
        with pytest.raises(
            SettingError, match=r"step_size is 0\.05; SGLD is stable below 0\.039604 on this quadratic\."
        ):
            quadratic_sgld_value(CURVATURE, **RESOLUTION, step_size=0.05)


class TestDisplaced:
    def test_one_weight_beside_its_minimum(self) -> None:
        value, delta = displaced_value(torch.ones(1, 1), torch.tensor([0.1]), n_beta=1000.0, gamma=1.0)
        assert value == pytest.approx(-4.5004947)
        assert value + delta == pytest.approx(0.4995005)

    def test_at_the_minimum_nothing_is_to_be_corrected(self) -> None:
        value, delta = displaced_value(torch.diag(torch.tensor(CURVATURE)), torch.zeros(20), **RESOLUTION)
        assert delta == 0
        assert value == pytest.approx(quadratic_value(CURVATURE, **RESOLUTION))

    def test_it_is_the_mean_over_draws_from_the_posterior(self) -> None:
        draws = torch.Generator().manual_seed(0)
        root = torch.randn(3, 3, generator=draws, dtype=torch.float64)
        hessian, minimum = root @ root.T, torch.randn(3, generator=draws, dtype=torch.float64)
        covariance = (10.0 * hessian + 2.0 * torch.eye(3)).inverse()
        mean = covariance @ (10.0 * hessian @ minimum)
        w = mean + torch.randn(400_000, 3, generator=draws, dtype=torch.float64) @ torch.linalg.cholesky(covariance).T
        excess = 5.0 * (((w - minimum) @ hessian * (w - minimum)).sum(1) - minimum @ hessian @ minimum)
        value, _ = displaced_value(hessian, minimum, n_beta=10.0, gamma=2.0)
        assert abs(excess.mean().item() - value) <= 3 * excess.std().item() / len(w) ** 0.5


class TestNormalCrossings:
    @pytest.mark.parametrize("powers", CROSSINGS)
    def test_the_table(self, powers: tuple[int, ...]) -> None:
        values = [normal_crossing_value(powers, n_beta=n_beta, gamma=1.0) for n_beta in N_BETAS]
        assert values == pytest.approx(CROSSINGS[powers], abs=1e-6)

    def test_the_order_of_the_weights_does_not_matter(self) -> None:
        swapped = normal_crossing_value((2, 1), n_beta=30.0, gamma=2.0)
        assert normal_crossing_value((1, 2), n_beta=30.0, gamma=2.0) == pytest.approx(swapped, rel=1e-12)

    def test_a_square_is_a_quadratic_of_curvature_two(self) -> None:
        assert normal_crossing_value((1,), n_beta=7.0, gamma=3.0) == pytest.approx(
            quadratic_value([2.0], n_beta=7.0, gamma=3.0), rel=1e-12
        )

    def test_what_is_not_known_is_refused(self) -> None:
        with pytest.raises(SettingError, match=r"powers has 3 entries; give 1 or 2\."):
            normal_crossing_value((1, 1, 1), n_beta=1.0, gamma=1.0)
        with pytest.raises(SettingError, match=r"a power is 0; give an integer of at least 1\."):
            normal_crossing_value((0,), n_beta=1.0, gamma=1.0)
        with pytest.raises(SettingError, match=r"gamma is 0\.0; it must be positive\."):
            normal_crossing_value((1,), n_beta=1.0, gamma=0.0)


class TestReducedRank:
    @pytest.mark.parametrize("widths", REDUCED_RANK)
    def test_the_table(self, widths: tuple[int, int, int]) -> None:
        values = [reduced_rank_value(*widths, n_beta=n_beta, gamma=1.0) for n_beta in N_BETAS]
        assert values[:3] == pytest.approx(REDUCED_RANK[widths][:3], abs=1.5e-6)
        assert values[3] == pytest.approx(REDUCED_RANK[widths][3], abs=1.5e-5)

    @pytest.mark.parametrize("widths", [(3, 1, 2), (4, 2, 2), (1, 5, 2)])
    def test_the_transposed_map_has_the_same_value(self, widths: tuple[int, int, int]) -> None:
        inputs, hidden, outputs = widths
        there = reduced_rank_value(inputs, hidden, outputs, n_beta=50.0, gamma=2.0)
        assert reduced_rank_value(outputs, hidden, inputs, n_beta=50.0, gamma=2.0) == pytest.approx(there, rel=1e-10)

    def test_one_by_one_is_the_crossing_of_two_lines(self) -> None:
        crossing = normal_crossing_value((1, 1), n_beta=50.0, gamma=1.0)
        assert reduced_rank_value(1, 1, 1, n_beta=100.0, gamma=1.0) == pytest.approx(crossing, rel=1e-10)

    def test_another_integrator_agrees(self) -> None:
        def weight(small: float, large: float) -> float:
            spread = (large - small) / (small * large) ** 0.5
            decay = (1 + 100 * small) * (1 + 100 * large)
            return spread / decay * 2.718281828459045 ** (-(small + large) / 2)

        def energy(small: float, large: float) -> float:
            return weight(small, large) * (100 * small / (1 + 100 * small) + 100 * large / (1 + 100 * large))

        # In roots of the eigenvalues, which takes the square-root singularity away.
        total, above = (
            dblquad(lambda u, v, f=f: 4 * u * v * f(u * u, v * v), 1e-9, 8, 1e-9, lambda v: v, epsabs=1e-9)[0]
            for f in (weight, energy)
        )
        assert reduced_rank_value(2, 2, 2, n_beta=100.0, gamma=1.0) == pytest.approx(above / total, rel=1e-6)

    def test_what_is_not_known_is_refused(self) -> None:
        with pytest.raises(SettingError, match=r"inputs is 4 and hidden is 3; the smaller of the two must be 1 or 2\."):
            reduced_rank_value(4, 3, 2, n_beta=1.0, gamma=1.0)
        with pytest.raises(SettingError, match=r"n_beta is nan; give a finite number\."):
            reduced_rank_value(1, 1, 1, n_beta=float("nan"), gamma=1.0)
