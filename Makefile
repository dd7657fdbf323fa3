# What can be done here. `make help` lists it; CONTRIBUTING.md explains it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test check tools fmt sources lint alone docs crds-check layers deny audit bench microbench malformed fuzz crds golden clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

crds-check:
	cargo run --quiet -p headrace-crds --bin crdgen -- --check

layers:
	cargo test --quiet -p headrace-e2e --test layers

deny:
	scripts/tool cargo-deny deny check bans licenses sources

audit: ## look the dependencies up in the advisory database (needs the network)
	scripts/tool cargo-deny deny check advisories

bench: ## measure speed and memory beside other proxies (ARGS: see `python3 e2e/bench --help`)
	scripts/setup bench
	cargo build --release -p headrace -p headrace-floor
	scripts/python e2e/bench --binaries "$$(scripts/target)/release" $(ARGS)

microbench: ## measure lookup, codecs and relay by themselves
	cargo bench --workspace --benches

# In a workspace of its own, so that nobody builds BoringSSL who does not ask for it.
malformed: ## send malformed HTTP/3 by an independent implementation (builds BoringSSL)
	scripts/setup malformed
	cargo build -p headrace -p headrace-demo
	HEADRACE_BIN="$$(scripts/target)/debug/headrace" HEADRACE_DEMO_BIN="$$(scripts/target)/debug/headrace-demo" \
		cargo test --manifest-path e2e/malformed/Cargo.toml $(ARGS)

fuzz: ## run every fuzz target for FUZZ_SECONDS (60)
	scripts/fuzz

crds: ## write crds/yaml from the Rust types
	cargo run --quiet -p headrace-crds --bin crdgen

golden: ## rewrite the expected output of tests from what the code does now; read the diff
	UPDATE_GOLDEN=1 cargo test --quiet -p headrace-compile --test golden
	UPDATE_GOLDEN=1 cargo test --quiet -p headrace-dataplane --lib metrics
	UPDATE_GOLDEN=1 cargo test --quiet -p headrace --bin headrace manifest

clean: ## remove what was built; the development CA in .headrace stays, since browsers may trust it
	cargo clean
	rm -rf e2e/clients/node_modules
