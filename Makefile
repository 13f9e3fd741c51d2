# swanherd. Everything here runs in a private root (tests/lab/enter): nothing is installed on this machine, and nothing
# of its network, /etc or processes is touched. As root, on any Linux that has apt-get, unshare and make.
.DEFAULT_GOAL := help
.NOTPARALLEL:

IN := tests/lab/enter --
PYTEST := $(IN) pytest
FAULT ?=
HOST ?=
BY ?= swanherd
CASE ?=
SUITE ?= bookworm
# Python 3.13 warns where looptime looks for a loop and there is none; no test of these rings has virtual time.
NO_LOOPTIME := -p no:looptime_plugin -p no:looptime_timeproxies -p no:looptime_chronometers
DEMO_SMOKE := keepalived-stop
# What a charon or an nft of another release may do otherwise. Calls that hang or come late are the agent's own business.
SMOKE := tests/component/features tests/component/settings $(addprefix tests/component/charon/test_,facts.py life.py \
  reasons.py teardown.py prober.py) $(addprefix tests/component/firewall/test_,table.py openings.py)
SEED ?=
STEPS ?=
MINUTES ?=
EPISODE ?=
# One sequence with stand-ins and one without, both with D-Bus and without: together every kind of fault but a few.
CHAOS_SMOKE := --seed 18 --seed 19 --steps 12

.PHONY: help demo lab unlab enter test test-all lint unit component smoke-trixie pair pair-long trixie system untouched demo-smoke bench bench-all bench-xfrm bench-growth bench-rest bench-smoke chaos chaos-smoke kernel kernel-firewall faults lock pages clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## show a gateway pair through its faults, swanherd beside the notify script (FAULT=... for one of them)
	@$(IN) python -m tests.lab.demo $(if $(FAULT),--fault $(FAULT))

lab: ## build a gateway pair in the background and leave it up (BY=notify: without swanherd)
	@tests/lab/background up --by $(BY)

enter: ## a shell on a host of that lab: HOST=gw-a, gw-b, peer, client, server or switch
	@tests/lab/background enter $(HOST)

unlab: ## end that lab
	@tests/lab/background down

test: lint unit component smoke-trixie pair kernel system untouched demo-smoke bench-smoke chaos-smoke ## all that CI runs

test-all: test ## the same, and the rings that need more than this machine may have
	$(MAKE) pair-long
	$(MAKE) trixie
	$(MAKE) kernel SUITE=trixie
	$(MAKE) kernel-firewall
	$(MAKE) kernel-firewall SUITE=trixie
	$(MAKE) system SUITE=trixie

lint: ## ruff, mypy, import layers
	$(IN) sh -c 'ruff check . && ruff format --check . && mypy && lint-imports'

unit: ## tests without input or output
	$(PYTEST) -q tests/unit

component: ## tests against one real outside system each
	$(IN) tests/lab/once-more -q tests/component

smoke-trixie: ## what talks to charon or nft, against Debian 13's (strongSwan 6.0, nftables 1.1)
	tests/lab/enter --suite trixie -- tests/lab/once-more -q $(NO_LOOPTIME) $(SMOKE)

pair: ## tests on a whole gateway pair
	$(IN) tests/lab/once-more -q -m 'not long' tests/pair

pair-long: ## tests on a whole gateway pair that take minutes
	$(PYTEST) -q -m long tests/pair

kernel: ## tests that need IPsec in the kernel: this one's, or Debian's in a virtual machine (SUITE=trixie for Debian 13)
	tests/lab/xfrm --suite $(SUITE) -- tests/lab/once-more -v $(NO_LOOPTIME) tests/kernel

kernel-firewall: ## what our nftables rules do to packets, in Debian's kernel whatever this one is (SUITE=trixie for Debian 13)
	tests/lab/xfrm --guest --suite $(SUITE) -- tests/lab/once-more -q --timeout 300 $(NO_LOOPTIME) \
	  --ignore tests/component/firewall/test_contended.py tests/component/firewall

trixie: ## the ring of the pair, on Debian 13's keepalived (2.3) and charon (6.0)
	tests/lab/enter --suite trixie -- tests/lab/once-more -q $(NO_LOOPTIME) -m 'not long' tests/pair

system: ## two booted Debians as a pair, installed by the book (SUITE=trixie for Debian 13)
	tests/lab/enter --suite $(SUITE) --flavour system -- tests/lab/once-more -q --timeout 400 $(NO_LOOPTIME) tests/system

untouched: ## this machine is the same before and after a lab, however it ended
	tests/test_host_untouched.sh

demo-smoke:
	$(IN) python -m tests.lab.demo --fault $(DEMO_SMOKE)

bench: ## measure against scripts and charon's own best; goes on where it was ended (CASE=... for one of them)
	$(IN) python -m tests.bench $(if $(CASE),--case '$(CASE)')

bench-all: ## the same with a longer matrix
	$(IN) python -m tests.bench --all

bench-xfrm: ## a few cases with the kernel's own IPsec: this one's, or Debian's in a virtual machine (CASE=... for one)
	bash -o pipefail -c 'tests/lab/xfrm --limit-s 7200 -- python -m tests.bench --xfrm --tell $(if $(CASE),--case "$(CASE)") | \
	  $(IN) python -m tests.bench --take'

bench-growth: ## how the agent's own work grows, up to 10,000 connections, with a charon that does nothing
	$(IN) python -m tests.bench.growth

bench-rest: ## what the agent uses while nothing happens, with dead peer detection and without
	$(IN) python -m tests.bench.rest

bench-smoke:
	$(IN) python -m tests.bench --smoke

chaos: ## random faults on both gateways, judged by the observer (SEED=... STEPS=... MINUTES=... EPISODE=...)
	@$(IN) python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(STEPS),--steps $(STEPS)) \
	  $(if $(MINUTES),--minutes $(MINUTES)) $(if $(EPISODE),--episode $(EPISODE))

chaos-smoke:
	$(IN) python -m tests.chaos $(CHAOS_SMOKE)

lock: ## resolve the development environment anew into requirements-dev.lock
	tests/lab/enter --online sh -c 'python3 -m venv /tmp/uv && /tmp/uv/bin/pip --quiet install uv && \
	  /tmp/uv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-annotate --python-version 3.11 --group dev pyproject.toml \
	  --custom-compile-command "make lock" --output-file requirements-dev.lock && \
	  /tmp/uv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-annotate --python-version 3.11 pyproject.toml \
	  tests/lab/requirements-system.in --constraint requirements-dev.lock \
	  --custom-compile-command "make lock" --output-file tests/lab/requirements-system.lock'

faults: ## run the tests of what keepalived does, and write what was seen into docs/faults.md
	$(IN) sh -c 'mkdir -p build && rm -f build/noted && SWANHERD_NOTED=build/noted pytest -q tests/pair/test_vrrp_*.py && \
	  python -m tests.pair.noted build/noted > docs/faults.md'

pages: ## write anew what is made from the code: JSON Schema, reference pages, manual, completions
	$(IN) python contrib/generate.py

clean: ## remove build results and tools' caches (the private root stays in its cache outside the clone)
	rm -rf build dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
