# What can be done here. `make help` lists it; CONTRIBUTING.md explains it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test check tools fmt sources lint alone docs crds-check layers deny audit bench microbench malformed fuzz crds chart chart-check golden image cluster cluster-down e2e scale conformance clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build the demo and serve it on https://localhost:8443 (ARGS: more for `headrace standalone`)
	@exec scripts/run $(ARGS)

# The programs that black-box tests start are built with the features that the tests are, so that nothing is built twice.
test: ## install what the tests drive, and run all of them
	scripts/setup test
	cargo build --workspace --bins --tests
	cargo test --workspace

check: tools fmt sources lint alone docs crds-check layers deny ## everything that needs no running program

# A C compiler for the cryptography, and what a minimal Rust installation lacks.
tools:
	scripts/setup run
	cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	cargo clippy --version >/dev/null 2>&1 || rustup component add clippy

fmt:
	cargo fmt --all --check

sources:
	scripts/check-sources

lint:
	cargo clippy --workspace --all-targets -- -D warnings

# A crate must build without what another one switches on.
alone:
	for crate in $$(cargo tree --workspace --depth 0 --prefix none | cut -d ' ' -f 1); do cargo check --quiet -p "$$crate"; done

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

# What runs is built with the features that the whole workspace has, as it is for the tests, so that nothing is built twice.
crds-check:
	cargo build --quiet --workspace --bin crdgen
	"$$(scripts/target)/debug/crdgen" --check

layers:
	cargo test --quiet --workspace --test layers

deny:
	scripts/tool cargo-deny deny check bans licenses sources

audit: ## look the dependencies up in the advisory database (needs the network)
	scripts/tool cargo-deny deny check advisories

bench: ## measure speed and memory beside other proxies (ARGS: see `python3 e2e/bench --help`)
	scripts/setup bench
	cargo build --release -p headrace -p headrace-floor
	cargo bench -p headrace-dataplane --bench sessions --no-run
	scripts/python e2e/bench --binaries "$$(scripts/target)/release" $(ARGS)
	cargo bench --workspace --bench forward

microbench: ## measure lookup, codecs and relay by themselves
	cargo bench --workspace --benches

# In a workspace of its own, so that nobody builds BoringSSL who does not ask for it.
malformed: ## send malformed HTTP/3 by an independent implementation (builds BoringSSL)
	scripts/setup malformed
	cargo build --workspace --bins
	HEADRACE_BIN="$$(scripts/target)/debug/headrace" HEADRACE_DEMO_BIN="$$(scripts/target)/debug/headrace-demo" \
		cargo test --manifest-path e2e/malformed/Cargo.toml $(ARGS)

fuzz: ## run every fuzz target for FUZZ_SECONDS (60)
	scripts/fuzz

crds: ## write crds/yaml from the Rust types
	cargo run --quiet -p headrace-crds --bin crdgen

chart: ## write what is generated in charts/headrace, and manifests/install.yaml
	scripts/chart

chart-check: ## lint and render the Helm chart, and refuse what is out of date in it (builds Helm with Go where there is none)
	scripts/check-chart

golden: ## rewrite the expected output of tests from what the code does now; read the diff
	UPDATE_GOLDEN=1 cargo test --quiet -p headrace-compile --test golden
	UPDATE_GOLDEN=1 cargo test --quiet -p headrace-dataplane --lib metrics
	UPDATE_GOLDEN=1 cargo test --quiet -p headrace --bin headrace manifest

image: ## build the images: archives in target/image, made without a container engine
	scripts/setup image
	scripts/image

cluster: ## build Kubernetes and bring up a node of it on this machine (root; see docs/development-cluster.md)
	scripts/setup cluster
	e2e/cluster/build node helm conformance
	e2e/cluster/up
	@echo 'e2e/cluster/run kubectl get pods -A, or: eval "$$(e2e/cluster/environment)"'

cluster-down: ## remove the node and all that it left
	e2e/cluster/down

e2e: ## black-box tests on a real cluster (E2E_CLUSTER=own, kind or current; KEEP=1 leaves it; ARGS: names of cases)
	[ "$${E2E_CLUSTER:-own}" != own ] || scripts/setup cluster
	scripts/e2e $(ARGS)

scale: ## 10,000 routes on a real cluster, and what a change of one then costs
	[ "$${E2E_CLUSTER:-own}" != own ] || scripts/setup cluster
	E2E_TEST=scale scripts/e2e --nocapture

conformance: ## the Gateway API's conformance suite, and its report in docs/conformance (RUN=TestName for one test)
	[ "$${E2E_CLUSTER:-own}" != own ] || scripts/setup cluster
	RUN="$(RUN)" scripts/conformance $(ARGS)

clean: ## remove what was built; the development CA in .headrace stays, since browsers may trust it
	cargo clean
	rm -rf e2e/clients/node_modules
