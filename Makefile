# Every target works on a fresh clone: what is missing is set up first, in .venv.
#   make run ARGS="power-cut --phones 200"      make test ARGS="tests/wire -k dhcp"

.PHONY: setup run test check fuzz bench clean
.DELETE_ON_ERROR:

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
READY := .venv/.ready

setup: $(READY)

run: $(READY)
	$(BIN)/phonesim run $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest --numprocesses=3 --dist=loadgroup $(ARGS)  # most tests wait for somebody

check: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: $(READY)
	$(BIN)/python -m pytest tests/properties --hypothesis-profile=search --timeout=900 $(ARGS)

bench: $(READY)
	$(BIN)/python tests/bench/virtual_boots.py
	$(BIN)/python tests/bench/log_share.py
	$(BIN)/python tests/bench/sip_signatures.py
	$(BIN)/python tests/bench/loopback_boots.py
	$(BIN)/python tests/bench/sign_in.py
	$(BIN)/python tests/bench/wire_load.py
	$(BIN)/python tests/bench/register_load.py
	$(BIN)/python tests/bench/diagnose.py
	$(BIN)/python tests/bench/diagnose_capture.py

clean:
	rm -rf .venv dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find phonesim tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@
