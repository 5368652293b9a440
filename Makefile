# One command runs the course, one tests it: `make run`, `make test`. `make help` lists the rest.
#
# Everything is installed into .venv in this folder. A second call finds .venv/.installed and starts at once; the file
# is written last, so an interrupted installation is taken up again, and a change of pyproject.toml or constraints.txt
# installs anew.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LESSONS = $(wildcard notebooks/*.ipynb)
CODE := course_utils tests benchmarks data
# uv draws its progress on a terminal; in a log it would only list 160 packages.
QUIET := $(shell test -t 2 || echo --quiet)

# Without compiled files every start would translate PyTorch's source again (15 s instead of 6).
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test lab lint data tests lessons execute constraints bench clean

help:
	@echo "make run          set up, execute the notebooks in order, write pages to browse under build/html"
	@echo "make test         set up, then test the package and every notebook"
	@echo "make lab          set up, then open JupyterLab at the first notebook"
	@echo
	@echo "The first call installs PyTorch and Jupyter into .venv: half a minute to a few minutes, 6 GB on Linux."
	@echo "make PYTHON=python3.12 run   takes another Python (3.11 or newer)"
	@echo
	@echo "For maintainers:"
	@echo "make execute      run the notebooks and store their outputs in place"
	@echo "make lint         ruff over package, tests, scripts and notebooks"
	@echo "make bench        compare with peers"
	@echo "make constraints  rebuild constraints.txt from pyproject.toml"
	@echo "make clean        remove build/ and caches; .venv and data stay"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "The course needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)."; \
	  echo "Install one, or name it if you have it: make PYTHON=python3.12 run"; exit 1; }
	@rm -f $@
	@echo "Installing into $(VENV), once: half a minute to a few minutes, 6 GB on Linux."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --python $(BIN)/python $(QUIET) -c constraints.txt -e '.[test,bench]'
	@touch $@
	@echo "Installed."

run: $(STAMP)
	@$(BIN)/course run

lab: $(STAMP)
	@$(BIN)/jupyter lab $(firstword $(sort $(LESSONS)) notebooks)

test: lint tests lessons
	@echo "All passed."

lint: $(STAMP)
	@echo "== lint"
	@$(BIN)/ruff check $(CODE) notebooks

tests: $(STAMP) data
	@echo "== tests of the package"
	@$(BIN)/python -m pytest -q tests

data: $(STAMP)
	@echo "== data"
	@$(BIN)/course data

# nbval runs each notebook in its own worker (`--dist loadfile`; cells of one notebook belong together) and compares the
# outputs of cells tagged nbval-check-output; an exception in any cell fails. Hypothesis's plugin only costs time here.
lessons: $(STAMP) data
	@echo "== notebooks"
ifeq ($(LESSONS),)
	@echo "No notebooks yet: nothing to run."
else
	@COURSE_STATIC=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --nbval-lax --nbval-current-env \
	  --nbval-cell-timeout=300 --nbval-sanitize-with=tests/sanitize.cfg -n 2 --dist loadfile \
	  -p no:hypothesispytest $(LESSONS)
endif

execute: $(STAMP)
	@$(BIN)/course run --in-place

bench: $(STAMP)
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

constraints: $(STAMP)
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate \
	  pyproject.toml --all-extras -o constraints.txt
	@echo "constraints.txt rebuilt. Now: make test, then make execute."

clean:
	@rm -rf build .pytest_cache .ruff_cache .hypothesis
	@find course_utils tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
