# make demo        the main job on real data, end to end
# make test        the tests          make test-long   the long sweeps
# make lint        style and types    make format      mends style where it can
# make bench       what the benchmarks measure, against Keras on JAX, TensorFlow and PyTorch, and JAX, on this machine
#
# Each makes .venv and installs what it needs the first time, and again when pyproject.toml changes.
# Another Python: make demo PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-long lint format bench clean
.NOTPARALLEL:

demo: .venv/.installed-demo
	$(BIN)/lamina demo

test: .venv/.installed-test
	$(BIN)/pytest tests -n auto -m "not long"

test-long: .venv/.installed-test
	$(BIN)/pytest tests -n auto -m long

lint: .venv/.installed-lint .view/lamina
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=.view $(BIN)/mypy -p lamina

format: .venv/.installed-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One after the other: two at a time would disturb each other. This installs the peers, several GB; without them
# `.venv/bin/python benchmarks/suite.py` times those that are there and names the others.
bench: .venv/.installed-bench
	$(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/compile_time.py
	$(BIN)/python benchmarks/compile_time.py --training
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/start.py --training
	$(BIN)/python benchmarks/inference.py
	$(BIN)/python benchmarks/suite.py
	$(BIN)/python benchmarks/suite.py --training
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/fit.py
	$(BIN)/python benchmarks/distribution.py
	$(BIN)/python benchmarks/ops.py
	$(BIN)/python benchmarks/rewrites.py
	$(BIN)/python benchmarks/eager.py
	$(BIN)/python benchmarks/recompiles.py
	$(BIN)/python benchmarks/dump.py

clean:
	rm -rf .venv .view build dist *.egg-info .mypy_cache .ruff_cache .hypothesis tests/.pytest_cache

# One stamp for each extra. A failed install leaves none, so that the next run tries again.
.venv/.installed-%: pyproject.toml .venv/.made
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[$*]'
	@touch $@

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lamina needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	@touch $@

# mypy sees the root as the package `lamina` through this link.
.view/lamina:
	@mkdir -p .view
	@ln -sfn .. $@
