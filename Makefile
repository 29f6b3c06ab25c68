# The few commands a person types. `make help` lists them.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    = 20s
SYSTEMS     = linux/amd64 linux/arm64 darwin/arm64 freebsd/amd64

.PHONY: help run build test check fmt vet builds lint race bench performance fuzz crash docs

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

run: build ## a complete mail system on loopback: two houses, no configuration
	./bin/posthouse dev

build: ## the program, as bin/posthouse
	go build -o bin/posthouse ./cmd/posthouse

test: ## every test; those with other mail programs are skipped where these are not installed
	go test -timeout 15m ./...

check: fmt vet builds lint race ## everything a change must pass besides the tests

fmt:
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "not formatted: $$files"; exit 1; }

vet:
	go vet ./...
	GOARCH=386 go vet ./...

builds:
	@for s in $(SYSTEMS); do echo "build $$s"; CGO_ENABLED=0 GOOS=$${s%/*} GOARCH=$${s#*/} go build -o /dev/null ./cmd/posthouse || exit 1; done

lint:
	go run $(STATICCHECK) ./...
	go test ./internal/rules

race:
	go test -race -short -timeout 15m ./...

bench: ## benchmarks of the hot paths
	go test -run xxx -bench . -benchmem ./...

performance: ## intake beside Postfix, reading beside Dovecot and Cyrus, three rounds, and what many accounts cost: the tables of docs/PERFORMANCE.md
	POSTHOUSE_PERFORMANCE=3 POSTHOUSE_REQUIRE_PEERS=1 go test -count=1 -timeout 60m -v -run 'Test(Mailbox|Scale)?Performance$$' ./cmd/posthouse

fuzz: ## every fuzzer, each for FUZZTIME (20s)
	@set -e; for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
		echo "$$p $$f"; go test -run xxx -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$p; done; done

crash: ## faults and power cuts at every operation, bit rot, kill -9 with an audit, a million messages: longer than in make test
	POSTHOUSE_CRASH_ROUNDS=50 go test -count=1 -timeout 60m -v -run 'Crash|Kill|Cut|Dying|EveryOperation|BitRot|ManyQueued' ./spool/... ./mailbox/... ./cmd/...

docs: ## docs/RFC.md and docs/LIMITS.md, from the code
	go test -count=1 ./internal/rules -run 'Document$$' -update
