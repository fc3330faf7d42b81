# Each target installs what it lacks (tools/setup) and is quick the second time.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
.SILENT:
MAKEFLAGS += --no-print-directory

# The folder `dns/` and others must not shadow installed packages of the same name.
export PYTHONSAFEPATH := 1
export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin:/sbin

# What is not root fails with the way out, before anything is installed.
define need_root
	if [ "$$(id -u)" != 0 ]; then
	    echo "make $(1) programs a real kernel inside network namespaces of its own and needs root: sudo make $(1)" >&2
	    echo "(make check needs no root)" >&2
	    exit 1
	fi
endef

.PHONY: help demo demo-ipvs demo-cluster cluster test test-ipvs e2e e2e-build develop image check bench bench-conntrack bench-e2e bench-dns clean

help: ## say what there is
	echo "pointsman: a service router for Kubernetes nodes"
	echo
	sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 18
	echo
	echo "Arguments: make test T='tests/routing -k hairpin'   make demo A='--keep'   make bench A='--quick'"

demo: ## two nodes, a small shop, real traffic: with both iptables variants (root; about 6 s each)
	$(call need_root,demo)
	tools/setup kernel
	for variant in legacy nft; do
	    echo
	    pointsman demo --proxy-mode iptables --iptables-variant $$variant $(A)
	done

demo-ipvs: ## the same in ipvs mode; under User-Mode Linux if this kernel has no IPVS (root)
	$(call need_root,demo-ipvs)
	tools/setup kernel
	where=$$(tools/uml --where-needed --tell)
	if [ "$$where" = host ]; then exec pointsman demo --proxy-mode ipvs $(A); fi
	echo "this kernel has no IPVS (module ip_vs), so the demonstration runs under User-Mode Linux"
	case " $(A) " in
	*" --keep "*) exec tools/uml --seconds 86400 bash -c 'pointsman demo --proxy-mode ipvs --iptables-variant legacy $(A); exec bash' ;;
	*) exec tools/uml pointsman demo --proxy-mode ipvs --iptables-variant legacy $(A) ;;
	esac

test: ## the whole test suite, with real packets; under User-Mode Linux what needs IPVS, if this kernel has none (root)
	$(call need_root,test)
	tools/setup kernel
	tools/suite $(T)

test-ipvs: ## of these only what needs IPVS, under User-Mode Linux (root)
	$(call need_root,test-ipvs)
	tools/setup kernel
	tools/ipvs-tests $(T)

e2e: ## beside a real control plane, built once: what users change, what can fail, kube-proxy; on a real cluster (root; ten minutes)
	$(call need_root,e2e)
	tools/setup cluster
	tools/e2e-build >/dev/null
	tools/e2e $(T)

e2e-build: ## only build what e2e runs beside this program: kube-apiserver, kube-proxy, the image ... (root; ten minutes, once)
	$(call need_root,e2e-build)
	tools/setup cluster
	tools/e2e-build >/dev/null
	tools/image >/dev/null

cluster: ## a real cluster of two nodes on this machine: kubelets, containerd, Pods (root; A=up, A=status, A=down)
	$(call need_root,cluster)
	tools/setup cluster
	tools/cluster $(or $(A),up)

demo-cluster: ## the chart in such a cluster: install, a shop, roll-outs under traffic, from kube-proxy and back, off again (root; minutes)
	$(call need_root,demo-cluster)
	tools/setup cluster
	tools/e2e-build >/dev/null
	tools/demo-cluster $(A)

image: ## the agent's image as an archive for any container runtime, without a container builder (root; a minute, later seconds)
	$(call need_root,image)
	tools/setup image
	tools/image $(A)

check: ## lint, types, import contracts, house rules (no root)
	tools/setup python
	echo "ruff";        ruff check .
	echo "mypy";        mypy
	echo "imports";     lint-imports --no-logo
	echo "house rules"; python -m pytest -q tests/house

develop: ## only install what the other targets need
	tools/setup python
	echo "ready: .venv/bin/pointsman, .venv/bin/pytest, .venv/bin/mypy (set PYTHONSAFEPATH=1 when you call Python yourself)"

bench: ## measure at scale; A=--write puts the figures into docs/performance.md (root; some minutes)
	$(call need_root,bench)
	tools/setup kernel
	python bench/run.py $(A)

bench-e2e: ## beside a real kube-proxy and API server, 1,000 and 5,000 Services (BIG=1: 10,000); A=--quick, A=--write (root; half an hour)
	$(call need_root,bench-e2e)
	tools/setup e2e
	tools/e2e-build >/dev/null
	python bench/e2e.py $(A)

bench-conntrack: ## judge a million tracked connections, and let them follow 1,000 changed endpoints (root; a minute)
	$(call need_root,bench-conntrack)
	tools/setup kernel
	python bench/conntrack.py $(A)

bench-dns: ## the resolver beside CoreDNS, 10,000 Services, each on one core; A='--services 1000', A=--write (root; five minutes)
	$(call need_root,bench-dns)
	tools/setup e2e
	tools/e2e-build >/dev/null
	tools/coredns-build >/dev/null
	python bench/coredns.py $(A)

clean: ## remove what the other targets made in this folder
	rm -rf .venv .dev .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
