"""auto-circuit 1.0.1 on a transformer of TransformerLens: ``python benchmarks/peers/auto_circuit_1.py PROBLEM``.

Every line of standard input names what to do; every line of standard output is a JSON object with the CPU ``seconds``
of that and its ``values`` by edge. Imports torch and the peer alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from types import SimpleNamespace
from typing import Any

import torch

warnings.simplefilter("ignore")
SIZES = {"n_layers": 2, "d_model": 64, "n_ctx": 32, "d_head": 16, "n_heads": 4, "d_vocab": 32}


def main(path: str) -> None:
    """Answers until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(1)
    work = _Work(torch.load(path))
    for line in sys.stdin:
        started = time.process_time()
        values = getattr(work, line.strip())()
        print(json.dumps({"seconds": time.process_time() - started, "values": values}), file=answers, flush=True)


class _Work:
    def __init__(self, problem: dict[str, Any]) -> None:
        from auto_circuit.utils.graph_utils import patchable_model
        from transformer_lens import HookedTransformer, HookedTransformerConfig

        config = HookedTransformerConfig(
            **SIZES, attn_only=True, normalization_type="LN", seed=0, device="cpu", act_fn=None
        )
        network = HookedTransformer(config)
        network.load_state_dict(problem["state"], strict=False)
        network.cfg.use_attn_result = True
        network.set_use_attn_result(True)
        network.set_use_split_qkv_input(True)
        network.eval()
        for one in network.parameters():
            one.requires_grad = False
        self.model = patchable_model(network, factorized=True, separate_qkv=True, device=torch.device("cpu"))
        self.clean, self.targets = problem["tokens"], problem["targets"]
        self.donor = self.clean[problem["order"]]
        self.edges = sorted(self.model.edges, key=lambda edge: edge.name)

    def _loss(self, logits: torch.Tensor) -> torch.Tensor:
        flat = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), self.targets.flatten(), reduction="none", ignore_index=-100
        )
        return (flat.view(self.targets.shape).sum(1) / (self.targets != -100).sum(1)).mean()

    def exact(self) -> dict[str, float]:
        """Every edge by the public call."""
        from auto_circuit.types import AblationType
        from auto_circuit.utils.ablation_activations import src_ablations
        from auto_circuit.utils.graph_utils import patch_mode

        with torch.no_grad():
            given, base = (
                src_ablations(self.model, self.donor, AblationType.RESAMPLE),
                self._loss(self.model(self.clean)),
            )
            found: dict[str, float] = {}
            for edge in self.edges:
                with patch_mode(self.model, given, edges=[edge]):
                    found[edge.name] = float(self._loss(self.model(self.clean)) - base)
        return found

    def masked(self) -> dict[str, float]:
        """Every edge by its mask, from the reader's layer on, as its ACDC runs."""
        from auto_circuit.types import AblationType
        from auto_circuit.utils.ablation_activations import src_ablations
        from auto_circuit.utils.graph_utils import patch_mode, set_all_masks

        model = self.model
        with torch.inference_mode():
            given = src_ablations(model, self.donor, AblationType.RESAMPLE)
            own = src_ablations(model, self.clean, AblationType.RESAMPLE)
            base = self._loss(model(self.clean))
            _, tokens, short, mask = model.input_to_embed(self.clean)
            _, cache = model.run_with_cache(self.clean)
            streams = [cache[f"blocks.{layer}.hook_resid_pre"].clone() for layer in range(model.cfg.n_layers)]
            set_all_masks(model, val=0.0)
            found: dict[str, float] = {}
            with patch_mode(model, given, curr_src_outs=own):
                for edge in self.edges:
                    edge.patch_mask(model).data[edge.patch_idx] = 1.0
                    layer = int(edge.dest.module_name.split(".")[1])
                    out = model(
                        streams[layer], start_at_layer=layer, tokens=tokens, shortformer_pos_embed=short,
                        attention_mask=mask,
                    )  # fmt: skip
                    found[edge.name] = float(self._loss(out) - base)
                    edge.patch_mask(model).data[edge.patch_idx] = 0.0
        return found

    def acdc(self) -> dict[str, float]:
        """The edges that its ACDC keeps at a threshold of .1 nats of divergence, as 1, in the order of its questions.

        Edges into one layer it asks about in the order of a set, which is another in each process.
        """
        from auto_circuit.prune_algos.ACDC import acdc_prune_scores

        batch = SimpleNamespace(clean=self.clean, corrupt=self.donor, key=0)
        scores: Any = acdc_prune_scores(self.model, [batch], None, tao_exps=[-1], tao_bases=[1])
        order = sorted(self.model.edges, key=lambda edge: edge.dest.layer, reverse=True)
        return {edge.name: float(torch.isinf(edge.prune_score(scores))) for edge in order}

    def ig(self) -> dict[str, float]:
        """Gradients of the masks, integrated in five steps."""
        from auto_circuit.types import AblationType
        from auto_circuit.utils.ablation_activations import src_ablations
        from auto_circuit.utils.graph_utils import patch_mode, set_all_masks, train_mask_mode

        given = src_ablations(self.model, self.donor, AblationType.RESAMPLE)
        with train_mask_mode(self.model):
            for step in range(5):
                set_all_masks(self.model, val=(step + 0.5) / 5)
                with patch_mode(self.model, given.clone().detach()):
                    self._loss(self.model(self.clean)).backward()
            wrappers = {one.module_name: one.patch_mask.grad.detach().clone() for one in self.model.dest_wrappers}
        return {edge.name: float(wrappers[edge.dest.module_name][edge.patch_idx]) / 5 for edge in self.edges}


if __name__ == "__main__":
    main(sys.argv[1])
