# Windlass. `make help` lists the targets.

GO ?= go
BIN := bin/windlass
# The binary is static and free of cgo; so are the tools that are run here.
export CGO_ENABLED = 0

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/windlass, static and without cgo
	@$(GO) build -trimpath -ldflags '-s -w' -o $(BIN) ./cmd/windlass

.PHONY: demo
demo: build ## run the main job on embedded examples: merge, cross-sign, verdicts
	@$(GO) run ./examples/demo

.PHONY: tools
tools: ## build the control planes that tests run against, once for all checkouts
	@$(GO) run ./internal/testbed/cmd/tools

.PHONY: test
test: tools ## run all tests
	$(GO) test ./...

.PHONY: test-unit
test-unit: ## run the tests that need nothing but Go, fast
	$(GO) test -short ./...

.PHONY: testbed-up
N ?= 3
testbed-up: ## keep N clusters (default 3) with a mesh in the background, to play with
	@$(GO) run ./internal/testbed/cmd/up -n $(N)

.PHONY: testbed-down
testbed-down: ## end them, for certain, and remove everything
	@$(GO) run ./internal/testbed/cmd/up -down

.PHONY: soak
soak: tools ## survey 10,000 pods on a real API server beside one LIST of them; print the figures
	WINDLASS_SOAK=1 $(GO) test -count=1 -timeout 10m -run '^TestSoak' -v ./mesh/linkerd

.PHONY: bench
bench: build ## run the benchmarks and print a table: figure, bound, met or not
	@$(GO) run ./internal/benchtable

.PHONY: fuzz
FUZZTIME ?= 30s
fuzz: ## run every fuzz target for FUZZTIME (default 30s) each
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

.PHONY: lint
lint: ## vet, staticcheck, formatting, tidiness of go.mod
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted: $$unformatted"; exit 1; fi
	$(GO) mod tidy -diff

.PHONY: fmt
fmt: ## format the code and tidy go.mod
	gofmt -w .
	$(GO) mod tidy

.PHONY: generate
generate: ## bring generated files up to date
	$(GO) generate ./...
