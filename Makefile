# make install, make demo, make test: each sets up its own .venv once. Needs Python 3.11 or newer with venv, and make.
# `. .venv/bin/activate` puts hocket on the path.
PYTHON ?= python3
# On machines where pip's default torch is the large CUDA build: the URL of PyTorch's CPU index (see README).
TORCH_INDEX ?=
DEMO ?= demo

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: install demo test test-slow lint bench clean

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

install: $(READY)

demo: $(READY)
	$(BIN)/hocket demo $(DEMO)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(READY)
	$(BIN)/pytest -m slow -n 2 --dist worksteal

bench: $(READY)
	for script in tests/benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) demo build *.egg-info
