# One word per task. Everything is written below this checkout and one cache folder, which `make clean` removes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Where it is set, each of the hundreds of processes of the suites would compile what it imports once more.
export PYTHONDONTWRITEBYTECODE :=
CACHE := $(or $(SERINUS_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/serinus)

.PHONY: help setup check check-types check-rest control-plane test test-gateway test-cluster test-apiserver test-releases demo up image-smoke docs bench calibrate clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | column -t -s '|'

$(READY): requirements/dev.txt
	@command -v $(PYTHON) >/dev/null || { echo "Serinus needs Python 3.11 or newer: install it, or set PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Serinus needs Python 3.11 or newer, this is $$($(PYTHON) -V)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Serinus needs Python's venv module (Debian: apt-get install python3-venv)"; exit 1; }
	@echo "setting up $(VENV): about 290 MB of packages, once"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

setup: $(READY) ## the virtual environment, with every dependency pinned by hash

check: $(READY) ## lint, format, types, import contracts, duplicates, generated docs
	@$(MAKE) --no-print-directory -j 2 --output-sync=target check-types check-rest

check-types:
	$(BIN)/mypy

check-rest:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pylint --disable=all --enable=duplicate-code --min-similarity-lines=8 --ignore-imports=y --ignore-docstrings=y --ignore-signatures=y services shared cli sandbox
	$(BIN)/python -m tools.docs --check

test: $(READY) ## unit, story, contract and integration tests, with a real nats-server and a real Prometheus
	$(BIN)/python -m sandbox.prometheus
	$(BIN)/pytest -q tests/unit/router/rollout --cov=services.router.rollout --cov-branch --cov-fail-under=100
	# Four at once: most of these wait for a server more than they compute.
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not cluster and not gateway" --ignore tests/unit/router/rollout

test-gateway: $(READY) ## the gateway double and real APISIX side by side, where docker or podman has the images; APISIX=3.18.0 insists on one
	SERINUS_APISIX=$(APISIX) $(BIN)/pytest -q -rfE tests/gateway

control-plane: $(READY) ## builds what is missing of kube-apiserver, etcd, kube-controller-manager and kubectl, once
	$(BIN)/python -m sandbox.controlplane.binaries

test-cluster: ## the cluster suite, against a real kube-apiserver, etcd and controller-manager; OVERLAY=namespaced plays its largest part with Roles only
	$(if $(OVERLAY),,@$(MAKE) --no-print-directory test-apiserver)
	@$(MAKE) --no-print-directory test-releases

test-apiserver: control-plane ## of the cluster suite what needs an API server and no installation
	$(BIN)/pytest -n 3 --dist loadgroup -m cluster --timeout 600 --ignore tests/e2e/gentle --ignore tests/e2e/rough

test-releases: control-plane ## of the cluster suite what plays on installations
	$(BIN)/python -m sandbox.prometheus
	# Alone: its plays measure what clients of a gateway see, and two cores that do something else besides are slow gateways.
	$(BIN)/pytest -m cluster --timeout 600 $(if $(OVERLAY),--overlay=$(OVERLAY)) tests/e2e/gentle
	$(if $(OVERLAY),,$(BIN)/pytest -n 5 --dist loadgroup -m cluster --timeout 600 tests/e2e/rough)

demo: $(READY) ## the guide in about two minutes: a promotion and a rollback
	$(BIN)/python -m sandbox.prometheus
	$(BIN)/python -m sandbox.demo $(if $(filter real,$(CLUSTER)),--cluster real)

up: $(READY) ## the four services against KUBECONFIG=… NATS_URL=… METRICS_SERVER=…
	$(BIN)/python -m sandbox.up

bench: $(READY) ## the figures that the documents quote, on the real control plane
	$(BIN)/python -m bench revision
	$(BIN)/python -m bench ticks
	$(BIN)/python -m bench scenarios

calibrate: $(READY) ## docs/calibration.md and its picture: false alarms and delays of the judgement; QUICK=1 only compares a part with the page
	$(if $(QUICK),$(BIN)/pytest -q tests/unit/bench/test_calibration.py,$(BIN)/python -m bench calibrate)

docs: $(READY) ## writes the generated pages of docs/
	$(BIN)/python -m tools.docs

image-smoke: ## builds the image and plays the guide's first scenario with docker compose
	docker compose up --build --wait && docker compose run --rm guide; status=$$?; docker compose down -v; exit $$status

clean: ## removes the virtual environment, all run files and the cache
	rm -rf $(VENV) .run .pytest_cache .mypy_cache .ruff_cache .hypothesis $(CACHE)
