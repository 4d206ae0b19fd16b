# What a developer runs. `make test` is the README's second command: everything that can run on this machine; what
# needs another program that is missing is skipped by name.

GO ?= go
TESTFLAGS ?=

.PHONY: test race vet build lint fuzz nightly bench deb container

test: vet
	$(GO) test $(TESTFLAGS) ./...

build:
	$(GO) build -o samotop ./cmd/samotop

vet:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run gofmt -w on these files"; exit 1; }
	$(GO) vet ./...

race:
	$(GO) test -race ./...

# Each fuzz target for FUZZTIME; new crashers are kept in testdata/fuzz of their package.
FUZZTIME ?= 60s
fuzz:
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

# The large counts: histories, seeds, kills. SAMOTOP_NIGHTLY multiplies what the tests do in CI.
nightly:
	SAMOTOP_NIGHTLY=1 $(GO) test -timeout 6h -count 1 ./...
	$(MAKE) fuzz FUZZTIME=10m

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

# A package for Debian and what is like it, into build/: the same commit gives the same octets.
deb:
	GO="$(GO)" dist/deb/build.sh build

# An OCI image into build/samotop.tar, for podman, buildah or docker load; see dist/container.
container:
	GO="$(GO)" dist/container/build.sh build
