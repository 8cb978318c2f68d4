"""Reads a run, finished or not: what it found, its figures, its numbers.

    python analyze.py summary checkpoints/cis/version_0                    one screen: findings, how far to trust them
    python analyze.py report checkpoints/cis/version_0                     one HTML page with every figure and table
    python analyze.py report checkpoints/cis/version_0 --control checkpoints/cis_mse/version_0       beside another run
    python analyze.py compare checkpoints/cis/version_0 checkpoints/cis/version_1 --out figures  differences and curves
    python analyze.py trajectories checkpoints/cis/version_0 --quantities llc llc_plus_delta         curves in numbers
    python analyze.py trajectories checkpoints/cis/version_0 --component 'net.hook_hidden[7]' --out neuron.csv
    python analyze.py measure checkpoints/cis/version_0 --steps 3000 --only ablation                 measure snapshots
    python analyze.py patch checkpoints/cis/version_0 --components layers --restore       what clean activations restore
    python analyze.py calibrate checkpoints/cis/version_0                  choose the LLC's settings, with a picture
    python analyze.py stages checkpoints/induction/version_0               when it learnt what, with a picture
    python analyze.py exact                                                learning coefficients known exactly: a list
    python analyze.py exact reduced-rank --inputs 3 --hidden 2 --outputs 3 --rank 0 --n_beta 100 --gamma 1   one of them

Every command takes --json for machines and --out; `python analyze.py COMMAND --help` lists its options.
"""

import sys

from llc_lightning.cli.analyze import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], help_text=__doc__))
