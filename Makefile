# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Run it as root on a Debian 12 or 13 machine. It installs everything else from apt and PyPI.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON ?= /usr/bin/python3
VENV := $(CURDIR)/.venv
PY := $(VENV)/bin/python
NOX := $(VENV)/bin/nox --default-venv-backend uv --reuse-existing-virtualenvs
# The Python for programs that import the collection. The collection's path may be a link.
COLLECTION_PY = env PYTHONPATH=$(COLLECTIONS) $(PY)
TOOLS = $(COLLECTION_PY) -m ansible_collections.virtaudit.qemu.tests.tools
LAYER = $(TOOLS).layer run
# Layers that use this machine's audit daemon and links with fixed names take this lock, so that one runs at a time.
ALONE := flock --close /run/lock/virtaudit-tests.lock
LAYERS := lint sanity units integration integration-uml fault molecule
# make test runs the lanes side by side. The longest lane has the layers that use the machine's audit daemon. The other
# lanes have a lower priority. The third lane builds the images that integration-uml and molecule need.
LANES := --aside "lint sanity units integration-uml molecule" --lane "integration fault" --aside images
# These targets of integration can do without this machine's audit daemon. make test runs them on a User-Mode Linux, so
# that both lanes take the same time.
UML_TARGETS := docs_examples vm_net_audit_info
# make test takes samples of these layers. make test-all runs them as a whole, and also other layers.
TEST := UNITS=pytest FAULT_EVERY=30 SCENARIOS=fleet TARGETS="--exclude docs_guides $(UML_TARGETS:%=--exclude %)"
ALL_LAYERS := lint sanity units integration compat fault molecule molecule-tcg bench
ALL_LANES := --lane "lint sanity units molecule compat" --lane "integration fault molecule-tcg" --aside images
# make fault harms a task at every N-th point.
FAULT_EVERY := 1
LINT := lint docs-check docs license-check extra-checks build-import-check artefact ansible-lint changelog messages shell
# ansible-test on three ansible-cores: 2.19, the oldest and the newest. ansible-test takes pip from the place where get_pip.py puts it.
UNITS := units units-2.17 units-2.21
COMPAT := integration-2.17 integration-2.21
PIPS := 23.1.2 24.2 25.2
# Attaches and detaches on one running VM: make fault CYCLES=1000 for the long run.
CYCLES := 25
# The targets of integration to run. If it is empty, all of them.
TARGETS :=
# The molecule scenarios to run. If it is empty, all of them.
SCENARIOS :=
RELEASES := bookworm trixie
# The scenarios that depend most on the kernel. They also run with the releases' own kernels.
TCG_SCENARIOS := host fleet
COLLECTIONS := $(CURDIR)/.cache/collections

# PATH must have no shims, because ansible-test treats any pythonX.Y on PATH as a Python.
export PATH := $(VENV)/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export ANSIBLE_COLLECTIONS_PATH := $(COLLECTIONS)
export UV_PYTHON_DOWNLOADS := never
# Python keeps bytecode here, because some tools start a hundred times. It reads a module that Ansible sends through a
# pipe in blocks and not byte by byte, as on a host.
unexport PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED

.PHONY: help setup setup-demo packages packages-demo test test-all demo docs images pictures changelog format clean examples $(sort $(LAYERS) $(ALL_LAYERS))

help: ## Explain each target in a line
	@echo "As root on Debian 12 or 13 (amd64); the targets install what they need from apt and PyPI."
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: packages $(VENV)/.done $(COLLECTIONS)/ansible_collections/virtaudit/qemu ## Install what the tests need
setup-demo: packages-demo $(VENV)/.demo $(COLLECTIONS)/ansible_collections/virtaudit/qemu

packages-demo:
	@bash tests/tools/packages.sh packages-demo.txt

packages: packages-demo
	@bash tests/tools/packages.sh packages-debian.txt

$(VENV)/.demo: requirements-demo.txt | packages-demo
	$(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet -r requirements-demo.txt
	touch $@

$(VENV)/.done: requirements-dev.txt $(VENV)/.demo | packages
	$(PY) -m pip install --quiet -r requirements-dev.txt
	touch $@

# Ansible finds a collection only by such a path. A link is enough where nothing asks git or pytest.
$(COLLECTIONS)/ansible_collections/virtaudit/qemu:
	mkdir -p $(@D)
	ln -sfn $(CURDIR) $@

demo: setup-demo ## Show the life of a VM's NICs on this machine, with the records of each step
	@$(PY) tests/tools/demo.py

# Every layer runs, even after a failed one. The summary fails if a layer failed. Each line below is one process, so that
# a signal to make reaches the lanes.
test: setup ## Run all layers of the tests, with samples of the long ones
	@rm -rf .cache/layers
	@$(TOOLS).lanes $(LANES) $(TEST)
	@$(TOOLS).layer summary $(LAYERS)

# A release needs this. The benchmarks run alone, after all other layers.
test-all: setup ## Run what a release needs: all layers as a whole
	@rm -rf .cache/layers
	@$(TOOLS).lanes $(ALL_LANES)
	@$(TOOLS).lanes --lane bench
	@$(TOOLS).layer summary $(ALL_LAYERS)

# With CI=true the formatters only check. The other variable keeps galaxy-importer from a second run of ansible-lint.
lint: setup ## Check form, types, documentation, messages, licences and the artefact
	CI=true GALAXY_IMPORTER_RUN_ANSIBLE_LINT=false $(LAYER) lint $(NOX) --session $(LINT)

sanity: setup ## Run ansible-test sanity
	$(PY) tests/tools/get_pip.py 24.2
	$(LAYER) $@ $(NOX) --session $@

integration: setup ## Run playbooks on this machine, with real qemu, auditd and links
	$(PY) tests/tools/get_pip.py 24.2
	$(ALONE) $(LAYER) $@ $(NOX) --session $@ -- $(TARGETS)

units: setup ## Run the unit tests, in the sessions of UNITS
	$(PY) tests/tools/get_pip.py $(PIPS)
	$(LAYER) $@ $(NOX) --session $(UNITS)

compat: setup ## Run integration on the oldest and the newest ansible-core, on a User-Mode Linux
	$(LAYER) $@ $(NOX) --session $(COMPAT) -- $(TARGETS)

docs: setup ## Build the documentation site into .cache/docs/html
	$(NOX) --session docs

# A User-Mode Linux has an audit system and links of its own, so it runs beside the tests that use this machine's.
integration-uml: setup ## Run some targets of integration on a User-Mode Linux
	$(LAYER) $@ $(NOX) --session $@ -- $(UML_TARGETS)

# docs_guides follows README.md and all guides, and docs_examples follows the most important pages.
examples: ## Run the examples of README.md and of all guides, on a User-Mode Linux
	$(MAKE) --no-print-directory integration-uml UML_TARGETS=docs_guides

fault: setup ## Harm tasks at each system call that matters, and check what is left
	$(ALONE) $(LAYER) $@ $(COLLECTION_PY) -m ansible_collections.virtaudit.qemu.tests.fault.run \
		--every $(FAULT_EVERY) --cycles $(CYCLES)

# Building a kernel keeps two processors busy for ten minutes, once. The other layers come first.
images: setup ## Build what integration-uml and molecule run on, or find it built
	nice extensions/molecule/image/kernel
	kind=$$($(PY) extensions/molecule/vm.py accel | sed '/uml/!s/.*/qemu/'); \
	for release in $(RELEASES); do nice extensions/molecule/image/build $$release $$kind || exit; done

# On virtual hypervisors that run as processes. With ACCEL=tcg they are emulated, with the kernels of the releases.
molecule: setup ## Run all scenarios on virtual hypervisors, or those of SCENARIOS
	VIRTAUDIT_ACCEL=$(ACCEL) $(LAYER) $@ extensions/molecule/run $(SCENARIOS)

molecule-tcg: setup ## Run some of them on emulated machines with the releases' kernels
	VIRTAUDIT_ACCEL=tcg $(LAYER) $@ extensions/molecule/run $(TCG_SCENARIOS)

# The pictures of README.md come from a run of the demo.
pictures: setup ## Make the pictures of README.md from a run of the demo
	$(ALONE) $(PY) tests/tools/pictures.py docs/images

# Put the fragments into the release of galaxy.yml's version. Make that release, or renew it until it is tagged.
changelog: setup ## Put the fragments into the changelog
	antsibull-changelog release --update-existing --reload-plugins

format: setup ## Format the Python code
	$(NOX) --session formatters

# The figures also go to docs/benchmarks.md, unless the run is only a part: BENCH_ROUNDS=1 makes it short, and BENCH names
# single benchmarks.
bench: setup ## Measure the collection beside libvirt and the audit tools
	$(LAYER) $@ $(COLLECTION_PY) tests/benchmark/run.py --json .cache/benchmarks.json $(if $(BENCH)$(BENCH_ROUNDS),,--page docs/benchmarks.md) $(BENCH:%=tests/benchmark/%.py)

clean: ## Remove caches and environments
	rm -rf .ansible .cache .nox .venv .mypy_cache .ruff_cache tests/output
