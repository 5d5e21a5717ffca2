# How Small Models Learn Tool Use. `make help` lists what there is; README says what it prints.
#
#   make run                              the whole series at size tiny, results and site in build/
#   make run FRESH=1                      the same, starting over
#   make run ARGS="--size smoke 08"       anything `toolslm run --help` names
#   make run PYTHON=python3.12            with another Python (3.11 or newer)
#   make run TORCH_INDEX=<address>        with torch from the index that PyTorch's site names for CPU builds (a smaller download)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := $(VENV)/.ready
TORCH := $(shell grep '^torch==' requirements.txt)

.PHONY: run test test-slow lab site bench clean help
.DELETE_ON_ERROR:

run: $(READY)  ## execute the series: notebooks, results and site into build/ (stop it and start it again as you like)
	@$(BIN)/toolslm run $(if $(FRESH),--fresh) $(ARGS)

test: $(READY)  ## every test: helpers, lessons at size smoke, exercises
	@$(BIN)/python -m pytest $(ARGS)

test-slow: $(READY)  ## the tests that take minutes and that `make test` leaves out
	@$(BIN)/python -m pytest -m slow $(ARGS)

lab: $(READY)  ## JupyterLab on the first lesson
	@$(BIN)/jupyter lab notebooks/00_start_here.ipynb

site: $(READY)  ## build/site again from the executed notebooks in build/
	@$(BIN)/toolslm site

bench: $(READY)  ## speed, ours beside the stock path
	@set -e; for name in flatten merge opt evaluation server judging; do echo "== benchmarks/$$name.py"; $(BIN)/python benchmarks/$$name.py; done

clean:  ## remove what the other targets made, the environment .venv excepted
	rm -rf build .pytest_cache .hypothesis .ruff_cache .import_linter_cache *.egg-info
	find toolslm_helpers tests benchmarks notebooks -name __pycache__ -prune -exec rm -rf {} +

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1 \2/p' Makefile | while read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

# torch comes first and by exact version, so that nothing that follows pulls another build of it.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing)." \
	       "Install one, or name it: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Making the environment $(VENV): once, a few minutes."
	@$(PYTHON) -m venv $(VENV) >&2 || { \
	  echo "make: $(PYTHON) could not make $(VENV). On Debian and Ubuntu the package python3-venv is missing." >&2; exit 1; }
	@echo "  $(TORCH)"
	@$(PIP) install --quiet $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	@echo "  requirements.txt"
	@$(PIP) install --quiet -r requirements.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@
