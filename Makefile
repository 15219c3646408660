# Everything a user or a developer runs. `make search` and `make test` need only Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
SECONDS ?= 60

.PHONY: install search test test-all fuzz check format bench bench-scale bench-search lock clean

search: install  ## the quickstart study, start to report; a second call shows or continues it
	$(BIN)/seti-tune search quickstart

install: .venv/installed  ## the locked dependencies and this checkout, into .venv

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "seti-tune needs Python 3.11 or newer; run: make PYTHON=python3.11 install")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

test: install  ## everything but the tests marked slow
	$(BIN)/python -m pytest -m "not slow" --numprocesses 4 --dist loadfile --no-loadscope-reorder --durations 15

test-all: install  ## the slow tests too
	$(BIN)/python -m pytest

fuzz: install  ## hostile input: SECONDS=60 SEED=1 KINDS="log toml", or CASE="log 17" for one case again
	PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(KINDS),--kinds "$(KINDS)") \
		$(if $(CASE),--case "$(CASE)")

check: install  ## lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install  ## ratios against stock Keras and stock Ray Tune; two cores are enough, nothing else may run
	$(BIN)/python -m benchmarks

bench-scale: install  ## ten thousand trials and a million epochs, alone and against stock Ray Tune; takes an hour
	$(BIN)/python -m benchmarks.scale

bench-search: install  ## a whole search against stock Ray Tune and Optuna; goes on where it was; hours, QUICK=1 three minutes
	$(BIN)/python -m benchmarks.search $(if $(QUICK),--quick)
	$(if $(QUICK),,$(BIN)/python -m benchmarks.search --setting wide)
	$(if $(QUICK),,$(BIN)/python -m benchmarks.search.recorded)

lock:  ## remake requirements.lock from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --extra cluster --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --output-file requirements.lock

clean:  ## removes .venv and caches, never runs/
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
