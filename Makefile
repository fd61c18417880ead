# edgeq. `make demo` and `make test` need only python3 (3.11 or newer), make and pip.

PYTHON ?= python3
JOBS ?= 2
PYTEST_ARGS ?=
# of bench-firmware and bench-quantizer, such as --compiler gcc, --task ic
BENCH_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
C_FILES = $(shell git ls-files '*.c' '*.h' ':!tests/golden')  # golden files are as generated

.PHONY: help demo test lint bench bench-firmware bench-quantizer clean
.DELETE_ON_ERROR:

help:
	@echo "make demo   install edgeq in $(VENV) and run the demonstration"
	@echo "make test   install what the tests need and run them all"
	@echo "make lint   ruff, mypy, clang-format"
	@echo "make bench  speed beside ai-edge-litert and tflite-micro"
	@echo "make bench-firmware  cycles, RAM and flash of the firmware beside TFLite Micro's"
	@echo "make bench-quantizer  accuracy beside onnxruntime's quantizer and ai-edge-quantizer"
	@echo "make clean  remove $(VENV), build folders and caches"

demo: $(VENV)/.demo
	@$(BIN)/edgeq demo

test: $(VENV)/.test
	@sh tools/install_cross_tools.sh
	@echo "make: running the tests in $(JOBS) processes"
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(PYTEST_ARGS)

lint: $(VENV)/.test
	@echo "make: ruff format --check, ruff check"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@echo "make: mypy"
	@$(BIN)/mypy
	@echo "make: clang-format --dry-run on $(words $(C_FILES)) C files"
	@$(if $(C_FILES),$(BIN)/clang-format --dry-run -Werror $(C_FILES))

bench: $(VENV)/.test
	@$(BIN)/python tools/bench.py

bench-firmware: $(VENV)/.test
	@sh tools/install_cross_tools.sh
	@$(BIN)/python tools/bench_firmware.py $(BENCH_ARGS)

# ai-edge-quantizer has no wheel for every machine; without it its rows say so.
bench-quantizer: $(VENV)/.test
	@$(PIP) install --quiet ai-edge-quantizer \
	    || echo "make: ai-edge-quantizer cannot be installed here"
	@$(BIN)/python tools/bench_quantizer.py $(BENCH_ARGS)
	@$(BIN)/python tools/bench_accuracy.py

clean:
	@echo "make: removing $(VENV), build/, dist/ and caches"
	@rm -rf $(VENV) build dist edgeq-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is older than these two files when something must be installed anew.
$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/.pip
	@echo "make: installing edgeq and the demo's packages in $(VENV)"
	@$(PIP) install --quiet --editable '.[demo]' --constraint constraints.txt
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/.pip
	@echo "make: installing edgeq, the tests' and the linters' packages in $(VENV)"
	@$(PIP) install --quiet --editable '.[demo,test,lint]' --constraint constraints.txt
	@touch $@ $(VENV)/.demo

# Debian's python3 without the package python3-venv cannot put pip into an environment; the
# machine's own pip can.
$(VENV)/.pip:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"make: $(PYTHON) is Python {v[0]}.{v[1]}, must be 3.11 or newer: make PYTHON=python3.12 ...")'
	@echo "make: creating $(VENV)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
	    || { $(PYTHON) -m venv --clear --without-pip $(VENV) \
	         && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; } \
	    || { echo "make: cannot create $(VENV); on Debian: apt-get install python3-venv" >&2; exit 1; }
	@touch $@
