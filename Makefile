# Everything a developer does, from a bare machine: python3, make and git are enough.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null || echo build/uv/bin/uv)
KFR_DATA ?= $(if $(wildcard ../shared/data),$(abspath ../shared/data))
export KFR_DATA

.PHONY: help demo test lint format bench data wordnet clean
help: ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/ready ## train with and without knowledge on drawn shapes, and compare
	$(BIN)/kfr demo

test: lint ## check format, style and types, then run every test
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

lint: $(VENV)/ready ## check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/ready ## put format and imports right
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/ready ## measure against peers and naive forms
	@for file in $(filter-out bench/timing.py,$(wildcard bench/*.py)); do $(BIN)/python $$file; done

data: $(VENV)/ready ## write CIFAR-100 in its official layout into build/data
	@test -n "$(KFR_DATA)" || { echo "set KFR_DATA to the folder with prepare.py"; exit 4; }
	$(BIN)/python $(KFR_DATA)/prepare.py build/data
	@echo "now: export KFR_DATA=$(abspath build/data)"

wordnet: $(VENV)/ready ## make hierarchies/wordnet.npz again from Debian's wordnet-base
	$(BIN)/python tools/bundle_wordnet.py /usr/share/wordnet/data.noun

clean: ## remove what make made
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/ready: pyproject.toml constraints.txt | $(UV)
	$(UV) venv --quiet --allow-existing --no-python-downloads $(VENV)
	$(UV) pip install --quiet --python $(VENV) --constraints constraints.txt --group dev --editable .
	@touch $@

build/uv/bin/uv:
	@mkdir -p build
	python3 -m venv build/uv && build/uv/bin/pip install --quiet uv \
	  || { rm -rf build/uv && python3 -m pip install --quiet --target build/uv uv; }
