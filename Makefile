.DEFAULT_GOAL := help
SHELL := /usr/bin/env bash

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

.PHONY: build
build: ## build pleo-auth-proxy and pleo-demo into bin/
	go build -trimpath -o bin/ ./cmd/...

.PHONY: demo
demo: ## run the whole thing on loopback, with an emulator in Pleo's place
	go run ./cmd/pleo-demo

.PHONY: test
test: format lint ## everything that has to pass: vet, linters where installed, all tests; the protocol's with the race detector
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target test-library vet
	@$(MAKE) --no-print-directory test-product

# On a fresh machine most of the time goes into compiling, and what the race
# detector sees would be compiled once more: that is make race, but for the
# protocol. While vet has all that the product needs compiled, what has to be
# installed is, and the library's tests run, which need little. The product's tests
# look at the clock and come alone; most of them wait for something, so there are
# more at a time than processors.

.PHONY: test-library test-product
test-library: needs
	go test -vet=off -race -timeout 12m ./pleoauth ./pleoauth/internal/...
	go test -vet=off -timeout 12m ./internal/redistest $$(go list ./pleoauth/... | grep '/pleoauth/' | grep -v '/internal/')
test-product: needs
	@scripts/namespaces >/dev/null || true
	go test -vet=off -count 1 -parallel 4 -timeout 12m ./test # the binary that it builds is outside of the cache
	go test -vet=off -p 1 -timeout 12m $$(go list ./... | grep -v -e '/pleoauth' -e '/redistest$$' -e '/test$$')
	cd deploy/test && go test -vet=off -count 1 ./... # what it looks at is outside of its module, and so of the cache

.PHONY: race
race: needs ## all tests with the race detector
	go test -race -timeout 20m ./...

.PHONY: faults
faults: needs ## play the long selection of faults and load on real processes, and put what it measures into the documentation
	@rm -f docs/figures.json.new
	@scripts/namespaces >/dev/null || true
	go test ./test -run '^(TestFault|TestLoad)' -faults -figures $(CURDIR)/docs/figures.json.new -timeout 0 -v
	@mv docs/figures.json.new docs/figures.json
	go run ./internal/figures

.PHONY: vet format
vet: format ## go vet, and a check that gofmt has nothing to do
	go vet ./...
	cd deploy/test && go vet ./...

format:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "gofmt has changes for:"; echo "$$unformatted"; exit 1; fi

.PHONY: lint
lint: ## golangci-lint and shellcheck, where they are installed
	@if command -v golangci-lint >/dev/null 2>&1; then golangci-lint run; else echo "lint: golangci-lint is not installed; left out"; fi
	@if command -v shellcheck >/dev/null 2>&1; then shellcheck xcaddy.sh scripts/need scripts/namespaces .ci/run examples/*/*.sh deploy/kubernetes/redis/config/*.sh; else echo "lint: shellcheck is not installed; left out"; fi

.PHONY: needs
needs: ## install what the tests need beyond Go
	@scripts/need redis-server redis-server
	@scripts/need curl curl
	@scripts/need python3 python3
	@scripts/need node nodejs
	@scripts/need java default-jdk-headless
	@scripts/need php php-cli
	@scripts/need "php -m | grep -qx curl" php-curl
	@scripts/need "python3 -c 'import requests'" python3-requests
	@scripts/need jq jq
	@scripts/need ip iproute2
	@scripts/need unshare util-linux
	@scripts/need kubectl kubernetes-client
	@scripts/need promtool prometheus
	@scripts/need chromium chromium

FUZZTIME ?= 1m
.PHONY: fuzz
fuzz: ## run every fuzz target, each for FUZZTIME (1m)
	@set -e; for package in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -rhoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' $$package/*_test.go | sed 's/func //'); do \
			echo "== $$package $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

.PHONY: screenshots
screenshots: needs ## use the pages in a browser, and take the documentation's pictures of them
	@mkdir -p docs/images
	go test -count 1 -run '^TestPeopleConnectAndDisconnect|^TestThePages' ./test -screenshots $(CURDIR)/docs/images

.PHONY: xcaddy
xcaddy: ## build Caddy with this module by way of xcaddy
	./xcaddy.sh

SEEDS ?= 10000
.PHONY: simulate
simulate: ## play SEEDS (10000) schedules of the refresh protocol in virtual time; interrupted, it goes on where it was
	go test -c -o bin/simulation.test ./pleoauth
	cd pleoauth && GOGC=800 GODEBUG=adaptivestackstart=1 ../bin/simulation.test -test.timeout 0 -test.run TestSimulatedSchedules -seeds $(SEEDS) -workers 2 -portion 10000 -tally ../docs/figures-simulation.json
	go run ./internal/figures

.PHONY: measure-gate
measure-gate: ## measure what telling replicas of a refresh is worth, for minutes, and write it into docs/gate.md
	rm -f docs/figures-gate.json
	go test -count 1 -timeout 30m -run TestLoadWithEachWay -v ./test -measure-gate -figures $(CURDIR)/docs/figures-gate.json | grep -v -e '=== ' -e '--- PASS'
	go test -count 1 -run TestTheTableOfTheGateIsWhatWasMeasured ./docs -write-gate

BENCH_TIME ?= 12m
.PHONY: bench
bench: ## measure what the proxy costs beside Caddy alone and others, for BENCH_TIME (12m), into docs/benchmarks
	@scripts/need redis-server redis-server
	@for need in "nginx nginx" "/usr/lib/nginx/modules/ngx_http_lua_module.so libnginx-mod-http-lua" "/usr/share/lua/5.1/nginx/redis.lua lua-nginx-redis"; do \
		scripts/need $$need || echo "bench: !!!! WITHOUT $$need, nginx WITH Lua IS LEFT OUT"; \
	done
	go run ./internal/bench -time $(BENCH_TIME) $(BENCH_OPTIONS)
	go test -count 1 -run TestTheBenchmarks ./docs
