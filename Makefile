# Everything a developer, an operator and CI do. `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# what GET /version tells; the date is the commit's, so that the same commit gives the same bytes
COMMIT := $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)
BUILT := $(shell git log -1 --format=%cI 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X sluice/shared/release.commit=$(COMMIT) -X sluice/shared/release.date=$(BUILT)
# the race detector needs cgo and a C compiler; without them the tests still run, and say so
RACE := $(shell [ "$$(go env CGO_ENABLED)" = 1 ] && command -v "$$(go env CC)" >/dev/null 2>&1 && echo -race)
FUZZTIME ?= 200000x
# empty: inputs are not guided by coverage, and nothing is compiled for that; as well for some thousand executions
FUZZ_BUILD ?= -fuzz=.

.PHONY: help vendor-ui test-ui ui-shots bench-ui build build-local build-functions package bench-cold bench-usage run local test test-stores test-clients test-all check tidy bench bench-limits chaos fuzz deploy-guided lint-deploy clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

FUNCTIONS := proxy admin healthcheck
ARCH ?= arm64
DIST ?= dist
# -buildvcs=false: the same sources give the same bytes, whether or not they are committed; the version is in LDFLAGS
FUNCTION_BUILD = CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) go build -trimpath -buildvcs=false -tags lambda.norpc -ldflags '$(LDFLAGS) -buildid='

build: build-local build-functions ## build bin/sluice and the functions

build-local:
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/sluice ./local

build-functions: ## build dist/lambda/{proxy,admin,healthcheck}/bootstrap for ARCH (arm64 or amd64)
	@for f in $(FUNCTIONS); do mkdir -p dist/lambda/$$f; echo "dist/lambda/$$f/bootstrap ($(ARCH))"; \
		$(FUNCTION_BUILD) -o dist/lambda/$$f/bootstrap ./functions/$$f || exit 1; done

package: ## zip the functions for both architectures: dist/{proxy,admin,healthcheck}-{arm64,amd64}.zip
	@for a in arm64 amd64; do for f in $(FUNCTIONS); do \
		$(MAKE) --no-print-directory dist/$$f-$$a.zip ARCH=$$a FUNCTION=$$f || exit 1; done; done
	@cd $(DIST) && sha256sum *.zip | tee SHA256SUMS

dist/%.zip: .FORCE
	@mkdir -p $(DIST)/$(ARCH)/$(FUNCTION)
	$(FUNCTION_BUILD) -o $(DIST)/$(ARCH)/$(FUNCTION)/bootstrap ./functions/$(FUNCTION)
	@go run ./functions/internal/lambdazip $(DIST)/$*.zip $(DIST)/$(ARCH)/$(FUNCTION)/bootstrap

.FORCE:

run: local

local: build-local ## everything on one port: build and start on port 8000 with data/sluice.db
	@exec bin/sluice serve

test: ## everything that needs Go alone
	@[ -n "$(RACE)" ] || echo "NOTE: no C compiler, so the tests run without the race detector"
	go test $(RACE) -timeout 40m ./...
	cd tests/deploy && go test ./...
	cd tests/sketch && go test ./...
	cd tests/bedrocksdk && go test -count=1 ./...

test-stores: ## the stores on real servers: redis-server, Valkey (npm, node), DynamoDB Local (npm, Java), MariaDB, PostgreSQL
	tests/stores/dynamodb.sh
	tests/stores/valkey.sh
	STORETEST_REQUIRE=valkey go test -count=1 -timeout 10m -run '/valkey' ./shared/store/redis
	STORETEST_REQUIRE=redis,dynamodb,mysql,postgres go test -count=1 $(RACE) -timeout 20m ./shared/store/... ./tests/limits ./tests/process ./tests/tokens ./tests/lambda/functions

test-clients: ## real clients against the running binary (npm)
	tests/clients/run.sh
	NEED_CLIENTS=1 go test -count=1 ./tests/docs ./shared/health/probe -run 'Clients|RealCLI'

test-ui: ## the console in a real browser (npm, chromium): pages, flows, accessibility, attacks; skipped loudly without, unless UI_REQUIRE=1
	tests/ui/run.sh test

ui-shots: ## a picture of every page of the console into DIR
	tests/ui/run.sh shots $(abspath $(or $(DIR),dist/ui-shots))

vendor-ui: ## fetch the console's front-end packages again (npm): the versions that shared/adminui/internal/vendorui names
	go run ./shared/adminui/internal/vendorui shared/adminui/static/vendor

bench-ui: ## the console's pages with 1,000 nodes, 1,000 keys and 100,000 requests; UI="--store redis,dynamodb --records 1000000"
	tests/ui/run.sh bench $(UI)

test-all: test test-stores test-clients ## all three

check: ## gofmt, vet, staticcheck, tidy, import laws
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt needed:"; echo "$$out"; exit 1; }
	go vet ./...
	go tool -modfile=tools/go.mod staticcheck ./...
	tools/tidy.sh
	go mod verify
	cd tests/clients && go vet ./... && ../../tools/tidy.sh
	cd tests/chaos && go vet ./... && ../../tools/tidy.sh
	cd tests/deploy && go vet ./... && ../../tools/tidy.sh
	cd tests/tokencount && go vet ./... && ../../tools/tidy.sh
	cd deploy/prometheus && go vet ./... && ../../tools/tidy.sh && go test ./...
	cd tests/sketch && go vet ./... && ../../tools/tidy.sh
	cd tests/bedrocksdk && go vet ./... && ../../tools/tidy.sh
	cd tests/prices && go vet ./... && ../../tools/tidy.sh
	go test ./tests/laws

bench: ## load against the gateway and two yardsticks; prints the table of docs/performance.md
	go test -run '^$$' -bench . -benchmem ./shared/rawjson ./shared/sse ./shared/router ./shared/gateway ./shared/store/... ./shared/eventstream ./shared/tokencount ./shared/translator/amazonq ./shared/tokens ./tests/translate
	go run ./tests/bench

bench-limits: ## limits across processes on redis-server and DynamoDB Local: exactness, leases, budgets, totals, CPU
	-tests/stores/dynamodb.sh >/dev/null
	go run ./tests/limits
	go run ./tests/limits -simulate

chaos: ## real processes and SDKs before failing upstreams, on each store; CHAOS="-seed 7 -store redis -long"
	cd tests/chaos && go test .
	-tests/stores/dynamodb.sh >/dev/null
	cd tests/chaos && go run . $(CHAOS)

bench-cold: ## a function's cold start, warm overhead and memory, behind the fake Runtime API on one core
	-tests/stores/dynamodb.sh >/dev/null
	go run ./tests/cold

bench-usage: ## what each page asks of usage: a million records on SQLite and redis-server, 100,000 on DynamoDB Local
	-tests/stores/dynamodb.sh >/dev/null
	go run ./tests/usagebench

fuzz: ## each fuzz target FUZZTIME: executions (200000x) or a time (30s)
	@set -e; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	for p in $$(grep -rl --include='*_test.go' '^func Fuzz' shared | xargs -n1 dirname | sort -u); do \
		go test -c $(FUZZ_BUILD) -o "$$dir/fuzz.test" "./$$p"; \
		for f in $$(cd "$$p" && "$$dir/fuzz.test" -test.list '^Fuzz' | grep '^Fuzz'); do \
			echo "$$p $$f"; (cd "$$p" && "$$dir/fuzz.test" -test.run '^$$' -test.fuzz "^$$f\$$" -test.fuzztime $(FUZZTIME) \
				-test.fuzzminimizetime 10x -test.fuzzcachedir "$$(go env GOCACHE)/fuzz/sluice/$$p"); done; done

deploy-guided: build-functions ## build the functions and deploy template.yaml with the SAM CLI, which asks for the parameters
	@command -v sam >/dev/null || { echo "deploy-guided needs the SAM CLI; see docs/deploy-aws.md"; exit 1; }
	sam deploy --guided

lint-deploy: ## template.yaml against AWS's schemas (npm; skipped loudly without), Dockerfile and compose file by their own parsers
	tests/deploy/validate.sh
	cd tests/deploy && go test -count=1 -short .

clean: ## remove what the targets made
	rm -rf bin dist tests/clients/node_modules tests/ui/node_modules
