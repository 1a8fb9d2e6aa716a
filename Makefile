# Everything that this project can be asked for. Each target sets up what it needs by itself.
#
#   make bench       the ready-made benchmarks, held against baselines/
#   make bench-save  the same, accepted as baselines of this machine
#   make bench-gpu   the ready-made benchmarks at full size, on a GPU, with drawn weights; bench-gpu-save accepts them
#   make gpu-proof   a run of twelve minutes that shows on one GPU what only a GPU can show; results go to gpu-proof/
#   make plan        the same at full size, without weights or a GPU: their work and guided steps
#   make test        the project's tests that a push needs, in minutes
#   make test-all    those, then the rest: all that .ci/run holds
#   make lint        ruff and mypy
#   make minis       trains the miniature pipelines anew, in hours: see tools/README.md
#
# torch is pinned so that work baselines are exact. Another version, or a build from another index, is a variable away, in
# a new environment:
#   make clean bench TORCH=torch==2.13.0 PIP_INDEX="--index-url URL-OF-A-TORCH-INDEX"

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
PIP_INDEX ?=
ARGS ?=
# One process a core, up to four: each imports torch and diffusers, and takes some 1.5 GB.
WORKERS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores < 4 ? cores : 4)))
# Long tests mostly wait for processes of theirs, so that one worker more keeps the cores busy.
FULL_WORKERS ?= $(shell echo $$(($(WORKERS) + 1)))

BIN := $(VENV)/bin
SUITE := $(BIN)/python -m pytest --pyargs pytest_diffbench.suite --diffbench-baselines baselines
# Tests share few cores with each other: a thread more in each only makes them wait.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --dist worksteal
# A call takes seconds to minutes, so three rounds are steady; what confirms a suspicion may take an hour.
FULL_SIZE := --diffbench-weights random --diffbench-device cuda --diffbench-rounds 3 --diffbench-max-time 3600

# Pages are looked at in a real browser where there is one; without root or apt those tests are skipped.
CHROMIUM := command -v chromedriver >/dev/null || { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && \
  { apt-get update -qq; apt-get install -y -qq chromium chromium-driver; } >/dev/null 2>&1; } || \
  echo "no chromium: tests of the report in a browser are skipped"

.PHONY: bench bench-save bench-gpu bench-gpu-save gpu gpu-proof plan test test-all lint format minis clean

bench: $(VENV)/.ready
	$(SUITE) --diffbench $(ARGS)

bench-save: $(VENV)/.ready
	$(SUITE) --diffbench-save $(ARGS)

bench-gpu: gpu
	$(SUITE) --diffbench $(FULL_SIZE) $(ARGS)

bench-gpu-save: gpu
	$(SUITE) --diffbench-save $(FULL_SIZE) $(ARGS)

gpu-proof: gpu
	$(BIN)/python benchmarks/gpu_proof.py $(ARGS)

gpu: $(VENV)/.ready
	@$(BIN)/python -c 'import sys, torch; torch.cuda.is_available() or sys.exit( \
	  f"make bench-gpu needs a GPU, and torch {torch.__version__} " + ("sees none; make bench needs none." if torch.version.cuda \
	  else "is built without CUDA; name a build with it: make clean bench-gpu PIP_INDEX=\"--index-url ...\"."))'

plan: $(VENV)/.ready
	$(SUITE) --diffbench --diffbench-weights plan $(ARGS)

test: $(VENV)/.ready
	$(TEST) -n $(WORKERS) --ignore tests/full -m "not full" $(ARGS)

test-all: test
	@$(CHROMIUM)
	$(TEST) -n $(FULL_WORKERS) -m "full or hypothesis" --hypothesis-profile full $(ARGS)

lint: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

minis: $(VENV)/.ready
	for stage in vae lumina2 neta-lumina flux flux-distilled wan-vae wan export; do \
	  $(BIN)/python tools/train_minis.py $$stage $(ARGS) || exit 1; done
	$(BIN)/python tools/prompt_sheet.py

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "pytest-diffbench needs Python 3.11 or newer; $(PYTHON) is older. Name another: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet $(PIP_INDEX) $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@
