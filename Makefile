# Everything here does its own set-up: see scripts/setup.sh.

CARGO ?= cargo

.PHONY: help demo tour test bench figures conformance conformance-mcp agents lint audit advisories fuzz fuzz-mcp fmt clean

help: ## Shows this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

demo: ## A throw-away PostgreSQL with sample data and the gateway before it, until Ctrl-C
	@scripts/with-setup.sh $(CARGO) run --locked --quiet -- demo

tour: ## A scripted walk through the demo as real clients, with a transcript
	@scripts/with-setup.sh $(CARGO) run --locked --quiet -- demo --tour

test: ## Formatting, lints, documentation and all tests
	@scripts/with-setup.sh scripts/test.sh

bench: ## Speed and memory beside a bare relay and a direct connection, in ROUNDS rounds (10); ONLY=words for some of it, RECORD=docs/bench.md to keep it
	@scripts/with-setup.sh $(CARGO) bench --locked --quiet --bench wire -- --rounds $(or $(ROUNDS),10) $(if $(ONLY),--only '$(ONLY)') $(if $(RECORD),--record '$(CURDIR)/$(RECORD)')

figures: ## What the catalog of 200,000 columns costs, and how much of PostgreSQL's regression suite is understood
	@scripts/with-setup.sh $(CARGO) bench --locked --quiet --bench catalog
	@scripts/with-setup.sh scripts/regress.sh understood

conformance: ## PostgreSQL's regression suite, its drivers' suites and real clients through the gateway; all below target/
	@scripts/postgres18.sh
	@scripts/with-setup.sh $(CARGO) test --locked --test it newest
	@scripts/with-setup.sh scripts/regress.sh
	@scripts/with-setup.sh python3 scripts/conformance/drivers.py
	@scripts/with-setup.sh scripts/conformance.sh
	@$(MAKE) --no-print-directory conformance-mcp fuzz-mcp

agents: ## Real Claude Code and Codex, over HTTP and stdio, driven offline by a scripted model; RECORD=docs/agents.md keeps the session
	@scripts/clients.sh node agents
	@scripts/with-setup.sh $(CARGO) build --locked --quiet
	@python3 tests/clients/agents/run.py target/debug/portcullis target/clients $(if $(RECORD),--record $(RECORD))

conformance-mcp: ## MCP's own conformance suite against the MCP door, by both eras of the protocol
	@scripts/clients.sh node suites
	@scripts/with-setup.sh $(CARGO) test --locked --test it clients::conformance -- --nocapture

fuzz-mcp: ## mcp-fuzzer against every tool of the MCP door, in RUNS runs each (25)
	@scripts/clients.sh fuzzer
	@scripts/with-setup.sh $(CARGO) build --locked --quiet
	@target/clients/fuzzer/bin/python scripts/fuzz_mcp.py target/debug/portcullis target/clients/fuzzer/bin/mcp-fuzzer $(RUNS)

lint: ## Formatting and lints only
	@scripts/with-setup.sh scripts/test.sh lint

audit: ## Licences, bans and sources of every dependency (installs cargo-deny if it is missing)
	@command -v cargo-deny >/dev/null || $(CARGO) install cargo-deny --locked
	$(CARGO) deny --locked check licenses bans sources

advisories: ## Known vulnerabilities of dependencies; fetches the advisory database
	@command -v cargo-deny >/dev/null || $(CARGO) install cargo-deny --locked
	$(CARGO) deny --locked check advisories

fuzz: ## Fuzzes every decoder and the analyser for SECONDS_EACH (60); needs a nightly toolchain, installs cargo-fuzz
	@command -v cargo-fuzz >/dev/null || $(CARGO) install cargo-fuzz --locked
	@for target in startup frontend backend scram greeting statement session; do \
		mkdir -p fuzz/work/$$target; \
		scripts/with-setup.sh $(CARGO) +nightly fuzz run $$target fuzz/work/$$target fuzz/corpus/$$target -- -max_total_time=$${SECONDS_EACH:-60} || exit 1; \
	done

fmt: ## Formats the code
	$(CARGO) fmt

clean: ## Removes everything that was built
	$(CARGO) clean
