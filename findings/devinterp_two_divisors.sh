#!/usr/bin/env bash
# devinterp 2.0.1 takes the second moments of one tree of draws by two divisors: compute_bif's covariances divide by
# n - 1, compute_susceptibilities' means by n. Where the restricted draws are those of the full model and init_loss is
# their mean, a susceptibility is a difference of the same covariances, and yet is (n - 1) / n of it, n = chains x draws:
# 5/6 for 2 chains of 3 draws. Comparing the two, or either with one's own moments, needs the factor.
#
# Seen, on Python 3.11 with torch 2.13.0 and xarray 2025.9.0:
#   susceptibility over difference of covariances: 0.833333 0.833333 0.833333 0.833333
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.3.3 xarray==2025.9.0 \
  datasets==4.1.1 transformers==4.57.6 zarr==3.1.3 pydantic==2.11.9 tqdm==4.67.1 einops==0.8.1 2>/dev/null
venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps devinterp==2.0.1 2>/dev/null
cat >moments.py <<'PYTHON'
import numpy as np
import xarray as xr
from devinterp.slt.bif import compute_bif
from devinterp.slt.susceptibilities import compute_susceptibilities

losses = np.random.default_rng(0).normal(2.0, 1.0, size=(2, 3, 4, 1))
tree = xr.DataTree(
    xr.Dataset(
        {
            "loss_a": (("chain", "draw", "batch_a", "token_pos"), losses),
            "input_ids_a": (("batch_a", "token"), np.arange(4)[:, None]),
            "init_loss": (("chain", "token_pos"), np.full((2, 1), losses.mean())),
        }
    )
)
found = compute_bif(tree, correlation_method="sequence", compute_covariance=True, device="cpu")
covariance = np.asarray(found["influences"].values).reshape(4, 4)
both = {"full": tree, "part": tree}
chi = compute_susceptibilities(both, "a", include_sampling_task=True)["susceptibilities"]
values = np.asarray(next(iter(chi.dataset.data_vars.values())).values).reshape(-1)
ratio = values / (covariance.mean() - covariance.mean(0))
print("susceptibility over difference of covariances:", *(f"{one:.6f}" for one in ratio))
PYTHON
seen="$(venv/bin/python moments.py 2>/dev/null)"
echo "$seen"
[ "$seen" = "susceptibility over difference of covariances: 0.833333 0.833333 0.833333 0.833333" ]
