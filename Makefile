# make install, make demo, make test: each sets up its own .venv once. Needs Python 3.11, 3.12 or 3.13 with venv, and make.
# `. .venv/bin/activate` puts hocket on the path.
PYTHON ?= python3
# On machines where pip's default torch is the large CUDA build: the URL of PyTorch's CPU index (see README).
TORCH_INDEX ?=
# HASHED=1: install only the files whose SHA-256 is in requirements.hashed.txt, with torch's CPU build.
HASHED ?=
DEMO ?= demo
# make release: the extras of hocket to install, "" at an aggregator. The folder is its own, so that .venv stays as it is.
EXTRAS := partner,s3,dask
RELEASE := release

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# the pip of a new .venv has known flaws in unpacking archives
PIP_VERSION := $(shell sed -n "s/^pip==\([^ ]*\) .*/\1/p" requirements.hashed.txt)
READY := $(VENV)/.ready

# a .venv keeps the Python that it was made with
ifeq ($(origin PYTHON)$(filter clean release,$(MAKECMDGOALS)),command line)
ifneq ($(wildcard $(BIN)/python),)
RELEASE_OF := -c 'import sys; print("%d.%d" % sys.version_info[:2])'
IS := $(shell $(BIN)/python $(RELEASE_OF))
WANTED := $(shell $(PYTHON) $(RELEASE_OF))
ifneq ($(IS),$(WANTED))
$(error $(VENV) has Python $(IS), expected $(WANTED) as PYTHON says: `make clean` first, or VENV=another folder)
endif
endif
endif

# what a release installs: hocket's wheel, made here, without the tools of tests
WITH := $(if $(EXTRAS),[$(EXTRAS)])

.PHONY: install release demo test test-slow lint bench sbom clean

$(READY): pyproject.toml constraints.txt requirements.hashed.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifeq ($(HASHED),)
	$(PIP) install --quiet --upgrade pip==$(PIP_VERSION)
	$(PIP) install --quiet -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(PIP) install --quiet -c constraints.txt -e ".[dev]"
else
	grep -E '^(pip|setuptools)==' requirements.hashed.txt > $(VENV)/builders.txt
	$(PIP) install --quiet --upgrade --require-hashes -r $(VENV)/builders.txt
	$(PIP) install --quiet --require-hashes --no-deps --no-build-isolation $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r requirements.hashed.txt
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
endif
	touch $@

install: $(READY)

release:
	test -x $(RELEASE)/bin/python || $(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/python -m pip --disable-pip-version-check install --quiet --upgrade pip==$(PIP_VERSION)
	$(RELEASE)/bin/python -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir $(RELEASE)/wheel .
	$(if $(findstring partner,$(EXTRAS)),$(RELEASE)/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch)
	$(RELEASE)/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt "$$(echo $(RELEASE)/wheel/hocket-*.whl)$(WITH)"

demo: $(READY)
	$(BIN)/hocket demo $(DEMO)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: $(READY)
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(READY)
	$(BIN)/pytest -m slow -n 2 --dist worksteal

bench: $(READY)
	for script in tests/benchmarks/*.py tests/benchmarks/preparation/*.py tests/benchmarks/target_models/*.py; do $(BIN)/python $$script || exit 1; done

# what is installed, for legal and security: build/sbom/sbom.cdx.json (CycloneDX) and build/sbom/licences.csv
sbom: $(READY)
	.ci/sbom $(BIN)/python

clean:
	rm -rf $(VENV) $(VENV)-sbom demo build *.egg-info
