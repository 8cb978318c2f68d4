# Every target does its own set-up: a fresh machine needs git, make and Python 3.11 or newer, nothing else.
# VENV=path puts the environment elsewhere, PYTHON3=python3.12 makes it with another Python, ARGS=... is passed on.

PYTHON3 ?= python3
VENV ?= .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
CODE := llc_lightning tests benchmarks study configs/source docs/tables.py docs/recipes conftest.py train.py analyze.py
SOURCES := $(wildcard $(CODE))
RUN ?= $$(ls -d checkpoints/cis/version_* | sort -V | tail -n 1)
CONTROL ?= $$(ls -d checkpoints/cis_mse/version_* | sort -V | tail -n 1)
LOOK ?= out/look

# The shape checks in tests compile libraries once more; without this they would do so at every start.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint format configs docs bench truth zoo study peers look wheel release-check notebooks site clean

help: ## what there is to make (this list)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## the environment in .venv; the other targets do this by themselves

$(READY): pyproject.toml constraints.txt
	$(PYTHON3) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(PYTHON) || $(PYTHON3) -m venv $(VENV)
	@echo "Installing into $(VENV): about 2 GB, a few minutes"
	$(PYTHON) -m pip install --quiet --upgrade pip # that of Python 3.11 takes twice the time to choose what to install
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Two processes share the measuring, which threads cannot: its tensors are too small. Together they train on 512 examples a
# step. The control trains in the background while they start.
demo: export OMP_NUM_THREADS = 1
demo: $(READY) ## the main job: train a net and its control, measure, write the report
	$(PYTHON) train.py fit -c configs/cis_mse.yaml --trainer.enable_progress_bar false & control=$$!; \
	$(PYTHON) train.py fit -c configs/cis.yaml -c configs/overlays/ddp2_cpu.yaml --data.init_args.batch_size 256 \
	&& wait $$control
	$(PYTHON) analyze.py report "$(RUN)" --control "$(CONTROL)"

test: $(READY) ## the whole test suite on two processes (ARGS="-k sgld" for a part)
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 2 --dist worksteal --clean-tree $(ARGS)

check: lint ## format, lint, types, spelling and the layers
	$(PYTHON) -m pytest -q tests/contracts/test_layers.py

lint: $(READY) ## what is checked without running it: format, lint, types and spelling
	$(PYTHON) -m ruff format --check $(SOURCES)
	$(PYTHON) -m ruff check $(SOURCES)
	$(PYTHON) -m codespell_lib
	$(PYTHON) -m pyright --venvpath $(dir $(abspath $(VENV)))

format: $(READY) ## rewrite the code as `make check` wants it
	$(PYTHON) -m ruff check --fix $(SOURCES)
	$(PYTHON) -m ruff format $(SOURCES)

configs: $(READY) ## write configs/ from configs/source/: an experiment is an entry in experiments.py
	$(PYTHON) -m configs.source

docs: $(READY) ## write the tables of docs/ that are registries
	$(PYTHON) -m docs.tables

bench: $(READY) ## ratios of CPU time against plain training and devinterp
	OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks $(ARGS)

truth: $(READY) ## every exactly known value, estimated at the defaults: right, flagged, silently wrong (ARGS="--only kinks")
	OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks truth $(ARGS)

zoo: $(READY) ## train every model on three seeds; expected and reached figures (ARGS="cis_xor --seeds 0" for a part)
	OMP_NUM_THREADS=1 $(PYTHON) -m benchmarks.zoo $(ARGS)

study: $(READY) ## train and measure the nets of docs/findings.md, where that is not done yet, and print what they say (ARGS="--jobs 2")
	OMP_NUM_THREADS=1 $(PYTHON) -m study run $(ARGS)
	OMP_NUM_THREADS=1 $(PYTHON) -m study tables --out out/study.html

faults: export OMP_NUM_THREADS = 1
faults: $(READY) ## random signals, kills and faults of ranks, and a long run (ARGS="--signals 5 --kills 0 --seed 3")
	$(PYTHON) -m tests.campaigns.faults $(ARGS)
	$(PYTHON) -m tests.campaigns.long_run
	$(PYTHON) -m tests.campaigns.strategies

peers: $(READY) .peers/devinterp-1.3.2/.ready .peers/devinterp-2.0.1/.ready .peers/auto-circuit-1.0.1/.ready .peers/kronfluence-1.0.1/.ready ## environments of other versions to compare with

# A venv made again over a broken or half-made one is repaired; nothing counts as ready before it imports.
.peers/devinterp-%/.ready:
	@echo "Installing devinterp $* into .peers/devinterp-$*: up to 2 GB, a few minutes"
	$(PYTHON3) -m venv .peers/devinterp-$*
	.peers/devinterp-$*/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch devinterp==$*
	.peers/devinterp-$*/bin/python -W ignore -c 'import devinterp.slt.sampler'
	@touch $@

# Its own list of requirements cannot be resolved; these are the newest that it works with.
.peers/auto-circuit-1.0.1/.ready:
	@echo "Installing auto-circuit 1.0.1 into .peers/auto-circuit-1.0.1: up to 2 GB, a few minutes"
	$(PYTHON3) -m venv .peers/auto-circuit-1.0.1
	.peers/auto-circuit-1.0.1/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch 'numpy<3' pandas plotly tqdm ordered-set pyyaml einops fancy-einsum jaxtyping rich sentencepiece wandb accelerate beartype blobfile typeguard transformers-stream-generator 'transformers==4.57.6' 'datasets==3.6.0'
	.peers/auto-circuit-1.0.1/bin/python -m pip install --quiet --disable-pip-version-check --no-deps auto-circuit==1.0.1 transformer-lens==2.18.0 better-abc
	.peers/auto-circuit-1.0.1/bin/python -W ignore -c 'import auto_circuit.utils.graph_utils'
	@touch $@

.peers/kronfluence-1.0.1/.ready:
	@echo "Installing kronfluence 1.0.1 into .peers/kronfluence-1.0.1: up to 2 GB, a few minutes"
	$(PYTHON3) -m venv .peers/kronfluence-1.0.1
	.peers/kronfluence-1.0.1/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch kronfluence==1.0.1
	.peers/kronfluence-1.0.1/bin/python -W ignore -c 'import kronfluence.analyzer'
	@touch $@

wheel: $(READY) ## what a new user does first, by the built wheel from an empty folder
	OMP_NUM_THREADS=1 $(PYTHON) tests/release/wheel.py

release-check: $(READY) ## the wheel with the oldest and the newest versions of its dependencies (takes a quarter of an hour)
	$(PYTHON) tests/release/versions.py $(ARGS)

notebooks: $(READY) ## run the notebooks of docs/ and keep what they show
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable '.[site]'
	OMP_NUM_THREADS=1 $(PYTHON) -m nbconvert --to notebook --execute --inplace docs/notebooks/*.ipynb

site: $(READY) ## the documentation as a site in out/site, which opens from the disk
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable '.[site]'
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

look: $(READY) ## pictures of TensorBoard and the report in headless Chromium (RUN=checkpoints/cis/version_0)
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable '.[look]'
	$(PYTHON) tests/look/look.py "$(RUN)" --out $(LOOK)

clean: ## remove the environments, caches and pictures; runs in checkpoints/ stay
	rm -rf .venv .peers .pytest_cache .ruff_cache out build dist *.egg-info
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
