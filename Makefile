# Everything a developer, an operator and CI do. `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
# the race detector needs cgo and a C compiler; without them the tests still run, and say so
RACE := $(shell [ "$$(go env CGO_ENABLED)" = 1 ] && command -v "$$(go env CC)" >/dev/null 2>&1 && echo -race)
FUZZTIME ?= 30s

.PHONY: help build run test test-stores test-clients test-all check tidy bench bench-limits fuzz clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

build: ## build bin/sluice
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/sluice ./local

run: build ## build and start on port 8000 with data/sluice.db
	@exec bin/sluice serve

test: ## everything that needs Go alone
	@[ -n "$(RACE)" ] || echo "NOTE: no C compiler, so the tests run without the race detector"
	go test $(RACE) ./...

test-stores: ## the stores on real servers: redis-server, DynamoDB Local (npm, Java), MariaDB, PostgreSQL
	tests/stores/dynamodb.sh
	STORETEST_REQUIRE=redis,dynamodb,mysql,postgres go test -count=1 $(RACE) -timeout 20m ./shared/store/... ./tests/limits ./tests/process ./tests/tokens

test-clients: ## real clients against the running binary (npm)
	tests/clients/run.sh
	NEED_CLIENTS=1 go test -count=1 ./tests/docs -run Clients

test-all: test test-stores test-clients ## all three

check: ## gofmt, vet, staticcheck, tidy, import laws
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt needed:"; echo "$$out"; exit 1; }
	go vet ./...
	go tool -modfile=tools/go.mod staticcheck ./...
	go mod tidy -e -diff # -e: a test-only module of a dependency may be unreachable
	go mod verify
	cd tests/clients && go vet ./... && go mod tidy -e -diff
	cd tests/tokencount && go vet ./... && go mod tidy -e -diff
	go test ./tests/laws

bench: ## load against the gateway and two yardsticks; prints the table of docs/performance.md
	go test -run '^$$' -bench . -benchmem ./shared/rawjson ./shared/sse ./shared/router ./shared/gateway ./shared/store/... ./shared/eventstream ./shared/tokencount ./shared/translator/amazonq ./shared/tokens ./tests/translate
	go run ./tests/bench

bench-limits: ## limits across processes on redis-server and DynamoDB Local: exactness, leases, budgets, totals, CPU
	-tests/stores/dynamodb.sh >/dev/null
	go run ./tests/limits
	go run ./tests/limits -simulate

fuzz: ## each fuzz target for FUZZTIME
	@set -e; for p in $$(go list ./shared/...); do \
		for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
			echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p; done; done

clean: ## remove what the targets made
	rm -rf bin tests/clients/node_modules
