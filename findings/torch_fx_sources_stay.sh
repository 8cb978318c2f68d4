#!/usr/bin/env bash
# torch 2.13.0: the source of every torch.fx.GraphModule that was ever compiled stays in the process, though the module
# is gone. Each recompile() enters the text into the loader's eval_cache and a lazy entry into linecache, under a name of
# its own, and nothing takes them out. A program that traces again and again, say a loss whose buffers changed, grows by
# the length of the code of every graph: tens of megabytes for some thousands of graphs of a hundred nodes.
#
# Seen, on Python 3.11 with torch 2.13.0 (CPU):
#   graphs alive: 0 of 300
#   sources kept: 300 or more, 300 or more of them in linecache
#   characters kept per graph of 100 additions: over 2000
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.3.3 2>/dev/null
cat >sources.py <<'PYTHON'
import gc
import linecache
import weakref

import torch
from torch.fx import symbolic_trace
from torch.fx.graph_module import _loader


class Sum(torch.nn.Module):
    def forward(self, x):
        for number in range(100):
            x = x + number
        return x


before, lines = len(_loader.eval_cache), len(linecache.cache)
alive = [weakref.ref(symbolic_trace(Sum())) for _ in range(300)]
gc.collect()
kept = list(_loader.eval_cache.values())[before:]
print("graphs alive:", sum(one() is not None for one in alive), "of 300")
print("sources kept:", "300 or more" if len(kept) >= 300 else len(kept), end=", ")
entered = len(linecache.cache) - lines
print("300 or more of them in linecache" if entered >= 300 else f"{entered} in linecache")
each = sum(map(len, kept)) / 300
print("characters kept per graph of 100 additions:", "over 2000" if each > 2000 else round(each))
PYTHON
seen="$(venv/bin/python sources.py 2>/dev/null)"
echo "$seen"
[ "$seen" = "graphs alive: 0 of 300
sources kept: 300 or more, 300 or more of them in linecache
characters kept per graph of 100 additions: over 2000" ]
