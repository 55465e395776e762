# What one does with Recado by hand. `make help` lists it.

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help
.PHONY: help demo test soak clients api-check alerts prepare down tools browser promtool

# Cargo is often installed where a fresh shell does not look.
export PATH := $(PATH):$(HOME)/.cargo/bin
# Queries are checked against .sqlx, not against whatever DATABASE_URL happens to name. `make prepare` says otherwise.
export SQLX_OFFLINE := true

target := $(or $(CARGO_TARGET_DIR),target)
# One more than there are processors, since many tests wait.
threads := $(or $(RUST_TEST_THREADS),$(shell expr $$(getconf _NPROCESSORS_ONLN) + 1))

help:
	@echo 'make demo           the whole service against the simulator, with a page to try it on, until Ctrl-C'
	@echo 'make demo ONCE=1    a fixed set of events through all of it, then an exit code and a line of JSON'
	@echo 'make test           format, lints, queries, documentation, all tests'
	@echo 'make soak           the long tests: crashes, fleet, simulation, the public doors under load'
	@echo 'make clients        lets others'"'"' programs talk to the simulator and to Recado, the producers of the examples too; needs PyPI and npm'
	@echo 'make api-check      holds the HTTP API against its own OpenAPI document with schemathesis; needs PyPI'
	@echo 'make alerts         checks and tries the alert rules with promtool'
	@echo 'make prepare        describes the queries in .sqlx anew, after a query or a migration changed'
	@echo 'make down           ends the services that any of these started'
	@echo
	@echo 'Postgres and RabbitMQ are found or started by scripts/services, which says what it does.'

# The topology has names of its own, so that a broker of yours is not disturbed.
demo: tools
	@scripts/services up
	@cargo build --locked
	@export RECADO_BROKER__EXCHANGE=$${RECADO_BROKER__EXCHANGE:-demo.shop.events} \
	  RECADO_BROKER__QUEUE=$${RECADO_BROKER__QUEUE:-demo.recado.events} \
	  RECADO_BROKER__DEAD_EXCHANGE=$${RECADO_BROKER__DEAD_EXCHANGE:-demo.recado.dead} \
	  RECADO_BROKER__STATUS_EXCHANGE=$${RECADO_BROKER__STATUS_EXCHANGE:-demo.recado.status} \
	  RECADO_BROKER__INBOUND_EXCHANGE=$${RECADO_BROKER__INBOUND_EXCHANGE:-demo.recado.inbound}; \
	  exec scripts/services run demo $(target)/debug/recado demo $(if $(ONCE),--once)

test: tools browser promtool
	cargo fmt --check
	@scripts/services up test
	scripts/services run test scripts/queries compare
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --locked --no-deps --document-private-items
	scripts/services run test cargo test --locked -- --test-threads=$(threads)

soak: tools
	cargo build --locked --release
	RECADO_PROGRAM=$(abspath $(target))/release/recado scripts/services run test cargo test --locked --test it -- --ignored --nocapture --test-threads=1

clients: tools
	@scripts/clients
	@scripts/services run clients scripts/producers

api-check: tools
	@scripts/services run clients scripts/api-check

alerts:
	@command -v promtool >/dev/null || scripts/services install prometheus || { echo 'promtool is missing, which comes with Prometheus. On Debian: apt-get install prometheus'; exit 1; }
	cd deploy/prometheus && promtool check rules recado.rules.yml && promtool test rules recado.rules.test.yml

prepare: tools
	scripts/services run test scripts/queries write

down:
	@scripts/services down

tools:
	@command -v cargo >/dev/null || { echo 'Rust is missing. Get it from https://rustup.rs: curl --proto =https --tlsv1.2 -sSf https://sh.rustup.rs | sh'; exit 1; }
	@command -v cc >/dev/null || scripts/services install gcc libc6-dev || { echo 'A C compiler is missing, which Rust links with. On Debian or Ubuntu: apt-get install gcc libc6-dev'; exit 1; }

# The pages are looked at in a real browser.
browser:
	@{ command -v chromedriver && { command -v chromium || command -v chromium-browser || command -v google-chrome; }; } >/dev/null || scripts/services install chromium chromium-driver || { echo 'Chromium and its chromedriver are missing, with which the tests look at the pages. On Debian: apt-get install chromium chromium-driver. Elsewhere: put both into the PATH.'; exit 1; }

# Alert rules are tried with it by the tests, which say so if it is not there.
promtool:
	@command -v promtool >/dev/null || scripts/services install prometheus || echo 'promtool is missing: the alert rules will not be tried. On Debian: apt-get install prometheus'
