# Each target makes its own virtual environment when missing and says what it does.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench chaos contract fuzz renderer clean cases

$(VENV)/base: pyproject.toml constraints.txt
	@echo "== making $(VENV) with the base install (no torch)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/dev: $(VENV)/base
	@echo "== adding the developers' tools"
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e .[dev]
	@touch $@

demo: $(VENV)/base ## the sample patrol through the whole chain, console on http://127.0.0.1:8311
	$(BIN)/python -m serve.console.build
	$(BIN)/jiejing demo

test: $(VENV)/dev ## the whole test suite
	$(BIN)/python -m serve.console.build
	@if command -v npm >/dev/null; then cd tests/tus && npm ci --silent; fi # the other stock upload client
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/dev ## ruff, mypy (strict) and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev ## what the figures in docs/performance.md rest on; peers are measured where they are installed
	$(BIN)/python -m bench.detect $(BENCH_ARGS)
	$(BIN)/python -m bench.fast start
	$(BIN)/python -m bench.fast patrol
	$(BIN)/python bench/locate.py
	$(BIN)/python bench/merge.py

cases: $(VENV)/dev ## the case loop against three simulated cities: ten passes over 5 km, 200 things (half an hour)
	$(BIN)/jiejing evaluate --cases --seed 1 --seed 2 --seed 3

renderer: ## Blender as a Python module, for `jiejing simulate --renderer .venv-renderer/bin/python` (1.2 GB, Python 3.11)
	test -x .venv-renderer/bin/python || python3.11 -m venv .venv-renderer
	.venv-renderer/bin/python -m pip install --quiet "bpy==4.5.*"

fuzz: $(VENV)/dev ## a million inputs for each reader of strangers' bytes (an hour or two); the last results stand in docs/experiments.md
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e .[fuzz]
	set -e; for target in gpx nmea csv gpmf exif image mp4 tus camera query geojson; do $(BIN)/python -m tests.fuzz $$target -runs=1000000; done

contract: $(VENV)/dev ## 100,000 requests of every role against the OpenAPI document; the last result stands in docs/experiments.md
	$(BIN)/python bench/contract.py --requests 100000

chaos: $(VENV)/dev ## kills, cuts and faults at length (about an hour); the last results stand in docs/experiments.md
	$(BIN)/python -m tests.chaos --kills 200
	$(BIN)/python -m tests.chaos --postgres --workers 3 --kills 100 --stops 10 --every 3 --ahead 20
	$(BIN)/python -m tests.chaos --postgres --workers 10 --kills 40 --every 4
	$(BIN)/python -m tests.faults
	JIEJING_CUT_UPLOADS=300 JIEJING_OPERATIONS=100000 $(BIN)/python -m pytest -s tests/test_stock_clients.py tests/test_unreliable_client.py

clean: ## remove the virtual environment and build outputs
	rm -rf $(VENV) build dist
