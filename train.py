r"""Trains a network, and measures while it trains.

    python train.py fit -c configs/cis.yaml                                 train with live LLC and ablations
    python train.py fit -c configs/smoke/cis.yaml                           the same in less than a minute
    python train.py fit -c configs/cis.yaml --seed_everything 1             another seed, in its own folder
    python train.py fit -c configs/cis.yaml --llc.chains 8 --llc.draws 500  change settings key by key
    python train.py fit -c configs/cis.yaml -c configs/overlays/ddp2_cpu.yaml     lay a second file over the first
    python train.py fit -c configs/cis.yaml --print_config                  every setting, with what it is now
    python train.py fit -c configs/cis.yaml --ckpt_path last                continue the newest run of the experiment

    On 4 GPUs:   add --trainer.devices 4 --trainer.strategy ddp
    On 2 nodes:  torchrun --nnodes 2 --nproc_per_node 4 --rdzv_backend c10d --rdzv_endpoint HOST:29500 train.py fit \
                 -c configs/cis.yaml --trainer.num_nodes 2 --trainer.devices 4 --trainer.strategy ddp

`python train.py fit --help` lists every key. A run leaves everything in checkpoints/<experiment>/version_<n>/.
"""

import sys

from llc_lightning.cli.train import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], help_text=__doc__ or ""))
