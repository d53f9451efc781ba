# Every target sets up what it needs: `make demo` or `make test` may be the first command ever typed in a clone.
# pip's own settings are respected: PIP_EXTRA_INDEX_URL, for instance, can lead to a CPU-only build of torch.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest

.PHONY: help setup demo test test-all check format bench fuzz sanitize clean

help:                ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

setup: $(STAMP)      ## create .venv with pinned versions (the part that all others share)

# torch first: it is the largest, and torchvision's own requirement must not choose another build of it.
# torchvision without its dependencies: tests and benchmarks compare with it, and its pure Python part is enough for that
# (benchmarks/torchvision_shim.py). No build isolation: what builds the native core is pinned like everything else; all it
# needs besides is a C++ compiler.
$(STAMP): pyproject.toml constraints.txt CMakeLists.txt $(wildcard native/*.?pp native/*/*.?pp)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Stoker needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up $(VENV): pinned versions, and the native core. This happens once, and takes a minute or two."
	@$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt torch  # not quiet: it is the one long download
	$(PIP) install --quiet --constraint constraints.txt --no-deps torchvision
	$(PIP) install --quiet --constraint constraints.txt scikit-build-core nanobind cmake ninja
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@

demo: setup          ## see it happen: timing, training, resume (DIR=folder for your own photographs)
	$(BIN)/stoker demo $(DIR)

# Several processes, since many tests wait; few, since each of them starts workers of its own.
test: setup          ## the tests (ARGS=... goes to pytest)
	$(PYTEST) -n auto --maxprocesses 4 -m "not slow" $(ARGS)

test-all: setup      ## the tests, the slow ones too
	$(PYTEST) $(ARGS)

check: setup         ## formatting, lint, types, import direction
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -q tests/test_imports.py

format: setup        ## put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup         ## measure against torch (FOLDER=folder of photographs)
	$(BIN)/python benchmarks/table.py $(FOLDER)

# For the processor at hand: code that loads whole registers is where a step too far would be.
fuzz: setup          ## change JPEGs at random under the sanitizers (SECONDS=60, SEED=0)
	@mkdir -p build/fuzz
	$(BIN)/python tests/image/corpus.py build/fuzz/corpus
	$(CXX) -std=c++20 -O1 -g -march=native -fsanitize=address,undefined -fno-sanitize-recover=all -Inative \
	  native/fuzz/jpeg.cpp native/jpeg/*.cpp -o build/fuzz/jpeg
	build/fuzz/jpeg $(or $(SECONDS),60) $(or $(SEED),0) build/fuzz/corpus/*.jpg

# Python itself is not built under the sanitizers, so their runtime has to be there before it. It is meant that Python's own
# allocations are never given back at its end: no leak check. ARGS=... goes to pytest: `make sanitize ARGS="-k flipped_byte"`
# flips every byte of small stores, not only every 23rd.
sanitize: setup      ## the tests of what reads files, with the native core under the sanitizers (ARGS=...)
	$(PIP) install --quiet --no-deps --no-build-isolation --upgrade --target build/sanitize \
	  -Cbuild-dir=build/sanitize-cmake -Ccmake.build-type=Debug -Ccmake.define.STOKER_SANITIZE=ON .
	ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=$(CURDIR)/build/sanitize:$(CURDIR)/tests/sanitized \
	  LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	  $(BIN)/python -m pytest tests/store tests/image tests/data/test_packed.py $(or $(ARGS),-m "not slow")

clean:               ## remove .venv and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
