# make quickstart   train, export and run a detector on the embedded data set
# make test         everything that CI runs
# make test-all     the same, and every recipe where make test runs one of each family
# make device       the tests of the device side, in an environment without torch
# make headless     the same with opencv-python-headless, which needs no libGL
# make wheel        build the wheel and the sdist, install each in a new environment, and run the main job there
# make floors       install the lower bounds of pyproject.toml exactly, then train, export, evaluate and detect with them
# make docs         the documentation site in build/docs; warnings are errors
# make check        format, lint, types, floors and the fast tests: before every commit
PYTHON ?= python3
VENV ?= .venv
DEVICE_VENV ?= .venv-device
HEADLESS_VENV ?= .venv-headless
# Which torch: TORCH=torch==2.12.0; which build: TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH ?= torch==2.13.0
TORCH_INDEX ?=

BIN := $(VENV)/bin
PIP = -m pip --disable-pip-version-check install --quiet
# A torch of the user's choice replaces the tested one among the constraints.
CONSTRAINTS := $(VENV)/constraints.txt
PYTEST_OPTIONS ?=
# A file's tests stay together, for they share what they train; tests/conftest.py puts the long files first.
WORKERS := -n 2 --dist loadfile --no-loadscope-reorder
# Compiled tests and modules are kept: without them every worker and every command in a test compiles them again.
export PYTHONDONTWRITEBYTECODE :=
RUN := runs/quickstart
DATA := runs/quickstart-data

.PHONY: quickstart test test-all device headless wheel floors docs check install install-device format clean help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

install: $(VENV)/.installed
install-device: $(DEVICE_VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "installing into $(VENV) (about a minute, and the download of torch)"
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: on Debian, apt-get install python3-venv" >&2; exit 2; }
	@grep -v '^torch==' constraints.txt > $(CONSTRAINTS); echo '$(TORCH)' >> $(CONSTRAINTS)
	@$(BIN)/python $(PIP) --upgrade "pip>=25.1"
	@$(BIN)/python $(PIP) -c $(CONSTRAINTS) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	@$(BIN)/python $(PIP) -c $(CONSTRAINTS) -e ".[train,export]" --group dev
	@touch $@

# What a device has: no torch, no onnx.
$(DEVICE_VENV)/.installed: pyproject.toml constraints.txt
	@echo "installing into $(DEVICE_VENV) (without torch)"
	@$(PYTHON) -m venv $(DEVICE_VENV)
	@$(DEVICE_VENV)/bin/python $(PIP) --upgrade "pip>=25.1"
	@$(DEVICE_VENV)/bin/python $(PIP) -c constraints.txt -e ".[eval]" --group device-test
	@touch $@

quickstart: $(VENV)/.installed
	@if [ -e $(RUN) ]; then mv $(RUN) $(RUN)-before-$$(date +%Y%m%d-%H%M%S); fi
	$(BIN)/nanogfl data draw $(DATA)
	$(BIN)/nanogfl train configs/quickstart.yaml --run-dir $(RUN)
	$(BIN)/nanogfl export $(RUN)/best.pt --report
	$(BIN)/nanogfl eval $(RUN)/best.onnx --data $(DATA)/val.json --images $(DATA)/val
	$(BIN)/nanogfl detect $(RUN)/best.onnx $(DATA)/val --save $(RUN)/detections --no-window
	$(BIN)/nanogfl bench $(RUN)/best.onnx --threads 1,2
	@printf '%s\n' '' 'Where everything lies:' \
	  '  $(RUN)/best.onnx        the detector: one file, verified against PyTorch (best_report.md says how)' \
	  '  $(RUN)/best.pt          its checkpoint' \
	  '  $(RUN)/detections/      pictures with boxes' \
	  '  $(RUN)/validation.png   detections beside the truth;  $(RUN)/curves.png  losses and AP' \
	  '  $(DATA)/     the drawn data set, COCO json' \
	  'What to run next:' \
	  '  $(BIN)/nanogfl detect $(RUN)/best.onnx YOUR_IMAGE_OR_FOLDER_OR_VIDEO' \
	  '  $(BIN)/nanogfl train YOUR_FOLDER     (docs/folders.md)'

test: device $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(WORKERS) --beside-device --durations=15 --durations-min=5 $(PYTEST_OPTIONS)

# The tests of what a device has: their list is the file.
device: $(DEVICE_VENV)/.installed
	$(DEVICE_VENV)/bin/python -m pytest -q $(WORKERS) @tests/device.txt

# The same with OpenCV's build without windows, for containers without libGL. Downloads an environment.
headless: $(HEADLESS_VENV)/.installed
	$(HEADLESS_VENV)/bin/python -m pip show --quiet opencv-python-headless
	! $(HEADLESS_VENV)/bin/python -m pip show --quiet opencv-python 2>/dev/null
	$(HEADLESS_VENV)/bin/python -m pytest -q $(WORKERS) @tests/device.txt

$(HEADLESS_VENV)/.installed: pyproject.toml constraints.txt
	@echo "installing into $(HEADLESS_VENV) (without torch and without windows)"
	@$(PYTHON) -m venv $(HEADLESS_VENV)
	@$(HEADLESS_VENV)/bin/python $(PIP) --upgrade "pip>=25.1"
	@$(HEADLESS_VENV)/bin/python $(PIP) -c constraints.txt -e ".[eval]" --group device-test
	@$(HEADLESS_VENV)/bin/python -m pip uninstall --quiet --yes opencv-python
	@$(HEADLESS_VENV)/bin/python $(PIP) --force-reinstall --no-deps $$(sed -n 's/^opencv-python==/opencv-python-headless==/p' constraints.txt)
	@touch $@

# Downloads two whole environments: not in make test, which installs into environments that see this one's packages.
wheel: $(VENV)/.installed
	$(if $(TORCH_INDEX),PIP_EXTRA_INDEX_URL=$(TORCH_INDEX)) $(BIN)/python benchmarks/wheel.py

test-all:
	@$(MAKE) test PYTEST_OPTIONS=--exhaustive

# Downloads a whole environment: not in CI. TORCH_INDEX as above.
floors:
	$(if $(TORCH_INDEX),PIP_EXTRA_INDEX_URL=$(TORCH_INDEX)) $(PYTHON) benchmarks/floors.py

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -q -W --keep-going -d build/doctrees -b html docs build/docs
	@echo "build/docs/index.html"

$(VENV)/.docs: $(VENV)/.installed pyproject.toml
	@$(BIN)/python $(PIP) -c $(CONSTRAINTS) --group docs
	@touch $@

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow" $(WORKERS)

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(DEVICE_VENV) $(HEADLESS_VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
