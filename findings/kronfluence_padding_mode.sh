#!/usr/bin/env bash
# kronfluence 1.0.1 takes every padding of a Conv2d for zeros: it finds an example's gradient from patches of the padded
# input, and reads padding but not padding_mode (module/conv2d.py, extract_patches). For "reflect", "replicate" and
# "circular" the influence of every example is silently wrong, with every strategy; shown by "identity", where a score is
# the product of two gradients. Nets with such layers need the padding as a module of its own before the convolution.
#
# Seen, on Python 3.11 with torch 2.13.0 (CPU), products of gradients beside autograd's:
#   zeros: apart by under 0.001 of their size
#   reflect: apart by over 0.1 of their size
#   replicate: apart by over 0.1 of their size
#   circular: apart by over 0.1 of their size
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.3.3 kronfluence==1.0.1 \
  accelerate==1.15.0 einops==0.8.2 einconv==0.1.0 opt_einsum==3.4.0 safetensors==0.8.0 tqdm==4.67.1 2>/dev/null
cat >padding.py <<'PYTHON'
import torch
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments
from kronfluence.task import Task
from torch import nn
from torch.utils.data import TensorDataset


class Squares(Task):
    def compute_train_loss(self, batch, model, sample=False):
        return model(batch[0]).square().sum()

    def compute_measurement(self, batch, model):
        return self.compute_train_loss(batch, model)


def products(model, x):
    rows = []
    for one in x:
        model.zero_grad()
        model(one[None]).square().sum().backward()
        rows.append(torch.cat([each.grad.flatten() for each in model.parameters()]))
    return torch.stack(rows) @ torch.stack(rows).T


for mode in ("zeros", "reflect", "replicate", "circular"):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode=mode), nn.Tanh())
    x = torch.randn(8, 1, 6, 6)
    wanted = products(model, x)
    data, task = TensorDataset(x), Squares()
    analyzer = Analyzer(mode, prepare_model(model, task), task, cpu=True, output_dir="out", disable_tqdm=True)
    analyzer.fit_all_factors("identity", data, per_device_batch_size=8, factor_args=FactorArguments("identity"))
    analyzer.compute_pairwise_scores("scores", "identity", data, data, 8, 8)
    found = analyzer.load_pairwise_scores("scores")["all_modules"]
    apart = float((found - wanted).norm() / wanted.norm())
    told = "under 0.001" if apart < 1e-3 else "over 0.1" if apart > 0.1 else f"{apart:.3f}"
    print(f"{mode}: apart by {told} of their size")
PYTHON
seen="$(venv/bin/python padding.py 2>/dev/null)"
echo "$seen"
[ "$seen" = "zeros: apart by under 0.001 of their size
reflect: apart by over 0.1 of their size
replicate: apart by over 0.1 of their size
circular: apart by over 0.1 of their size" ]
