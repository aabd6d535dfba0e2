# SPDX-License-Identifier: Apache-2.0
# A fresh machine needs Python >= 3.11 with venv, and make; everything goes into .venv.

PYTHON ?= python3
bin := .venv/bin
pip := $(bin)/python -m pip install --quiet --disable-pip-version-check
core := src/nacre/checks.py,src/nacre/errors.py,src/nacre/reasons.py,src/nacre/trust/*,src/nacre/platforms/*,src/nacre/appraisal/*

.PHONY: demo test check bench soak docs locks

demo: .venv/enclave ## real evidence verified offline, tampered twins refused, three simulated enclaves run
	$(bin)/python examples/demo.py

test: check ## everything that fits ten minutes on two cores
	$(bin)/pytest --numprocesses=auto --cov --cov-report=
	$(bin)/coverage report --include='$(core)' --omit='*/device.py,*/platforms/devices.py,*/platforms/tsm.py' --fail-under=100

check: .venv/dev ## style, types, layers
	$(bin)/ruff check . && $(bin)/ruff format --check .
	$(bin)/mypy && $(bin)/lint-imports --no-logo

bench: .venv/bench .venv/plain/bin/nacre ## side by side with peers, ratios in one run
	$(bin)/python -m benchmarks.run

soak: .venv/dev ## what takes hours
	$(bin)/pytest -m soak --hypothesis-profile=soak

docs: .venv/dev ## write the generated pages of docs/reference
	$(bin)/python docs/generate.py

locks: ## resolve the locks anew; needs uv
	requirements/lock

# What a user has who installs Nacre and nothing else: the start is timed there.
.venv/plain/bin/nacre: requirements/runtime.txt requirements/build.txt pyproject.toml
	$(PYTHON) -m venv .venv/plain
	$(pip:$(bin)%=.venv/plain/bin%) --require-hashes -r requirements/build.txt -r $<
	$(pip:$(bin)%=.venv/plain/bin%) --no-deps --no-build-isolation --editable .

.venv/%: requirements/%.txt requirements/build.txt pyproject.toml
	test -x $(bin)/python || $(PYTHON) -m venv .venv
	$(pip) --require-hashes -r requirements/build.txt -r $<
	$(pip) --no-deps --no-build-isolation --editable .
	touch $@
