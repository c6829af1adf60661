# What a contributor and the continuous integration run. `make demo` and `make
# test` work on a fresh Debian 12 with Go; every target brings what it needs.

SHELL := /bin/bash
GO ?= go
GOTEST := $(GO) test -timeout 30m
CORES := $(shell nproc 2>/dev/null || echo 2)

# make demo
DEMO_OUT ?= demo.out
# make testdata
TEACHER_OUT ?= teacher.out
# make test-real: real photographs and models, see README.md
PIPE_REAL_DATA ?= $(abspath ../shared/data)
# make test-chaos: for how long
CHAOS_SECONDS ?= 180
# make soak: for how long
SOAK_SECONDS ?= 7200
# -update writes the table of docs/reliability.md anew
SOAK_FLAGS ?=
# make fuzz: time for each fuzz target
FUZZTIME ?= 20s
# make bench: which benchmarks
BENCH ?= .

.PHONY: all deps build engine demo test test-real test-chaos test-attack soak test-slurm test-arm64 test-tensorboard test-cuda-headers race lint fuzz bench cover testdata clean
all: build engine

# Debian packages, ONNX Runtime, Go modules; skips what is present.
deps:
	@third_party/deps.sh

# bin/pipe.
build:
	$(GO) build -trimpath -o bin/pipe ./cmd/pipe

# The training engine, from $$LIBTORCH or Debian's libtorch.
engine:
	@$(MAKE) --no-print-directory -C student/torch/engine -j$(CORES) $(foreach v,LIBTORCH CUDA_HOME NCCL,$(if $($v),$v=$(abspath $($v))))

# The whole way once, on generated faces.
demo: deps build engine
	bin/pipe demo --out $(DEMO_OUT)

test: deps build engine
	$(GOTEST) ./...
	cd internal/schedule/k8stest && $(GO) test -count=1 ./... # of the program, which the test cache does not see

# The tests on real photographs and models, which are all called so.
test-real: deps build engine
	@test -d "$(PIPE_REAL_DATA)" || { echo 'PIPE_REAL_DATA names no folder: $(PIPE_REAL_DATA)' >&2; exit 1; }
	PIPE_REAL_DATA="$(PIPE_REAL_DATA)" $(GOTEST) -run '^TestReal' ./...

# The job that pipe emits for Slurm on a real one of a single node, as root: brings
# Debian's slurm-wlm and munge, and starts their daemons on loopback for some minutes.
test-slurm: deps build engine
	@SLURM=yes third_party/deps.sh
	PIPE_TEST_SLURM=yes $(GOTEST) -run '^TestSlurm' -v ./cmd/pipe

# The engine's loops for arm64 in an emulator, as root: brings Debian's compiler and
# emulator. Where these are, make test does it as well.
test-arm64: deps engine
	@ARM64=yes third_party/deps.sh
	PIPE_TEST_ARM64=yes $(GOTEST) -run '^TestARM64LoopsAgree$$' -v ./student/torch

# Event files read back by TensorBoard, from PyPI.
test-tensorboard: deps engine
	@TENSORBOARD=yes third_party/deps.sh
	python=$$(bench/peers/venv.sh tensorboard) && \
		PIPE_TEST_TENSORBOARD=$$python $(GOTEST) -run '^TestTensorBoard' ./internal/tensorboard ./student

# The engine's sources for CUDA devices against the headers of the newest PyTorch and an older
# one, and nvcc's compilation of its kernels: brings some gigabytes of wheels from PyPI, once, but
# for those that lie in PIPE_CUDA_WHEELS=DIR.
test-cuda-headers:
	@student/torch/engine/cuda_headers.sh

# Workers of one plan that are killed with SIGKILL and stopped for up to 20 s at random, for
# $(CHAOS_SECONDS) s; `make test` does the same for 4 s.
test-chaos: deps build
	PIPE_CHAOS_SECONDS=$(CHAOS_SECONDS) $(GOTEST) -count=1 -run '^TestPlanUnderChaos$$' -v ./cmd/pipe

# Every file that the program keeps damaged in many ways, tables and an index crafted by a
# stranger, hostile inputs, and kills, for some minutes; `make test` does a sample of it. The
# table of docs/reliability.md is written anew.
test-attack: deps build engine
	PIPE_ATTACK=yes $(GO) test -count=1 -run '^TestAttackMemory$$' -v ./ingest
	PIPE_ATTACK=yes $(GO) test -timeout 3h -count=1 -run '^TestAttack$$' -v ./cmd/pipe -update

# All that is done to a dataset in a loop, under kills, on full and busy disks, for
# $(SOAK_SECONDS) s: nothing grows and nothing is lost. As root it fills a disk as well.
soak: deps build engine
	PIPE_SOAK_SECONDS=$(SOAK_SECONDS) $(GO) test -timeout $$(( $(SOAK_SECONDS) + 1800 ))s -count=1 -run '^TestSoak$$' -v ./cmd/pipe $(SOAK_FLAGS)

race: deps build engine
	$(GOTEST) -race ./...

# Formatting, go vet, staticcheck, and the rules of the house (internal/archtest).
lint:
	@unformatted=$$(gofmt -l $$($(GO) list -f '{{.Dir}}' ./...)); \
		if [ -n "$$unformatted" ]; then echo "gofmt -w these files:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool -modfile=third_party/tools.mod staticcheck ./...
	$(GO) test ./internal/archtest

# Every fuzz target for $(FUZZTIME). Making a finding smaller is kept short: for inputs as
# large as a network it would take all the time.
fuzz:
	@set -e; for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 50x $$package; \
		done; \
	done

bench: build engine
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

cover: deps build engine
	$(GOTEST) -coverpkg=./... -coverprofile=coverage.out ./...
	$(GO) tool cover -func=coverage.out | tail -1

# testdata/teacher.onnx, from generated faces. It is in the repository; this is how it
# came there.
testdata: build engine
	testdata/teacher.sh $(TEACHER_OUT)

clean:
	rm -rf bin $(DEMO_OUT) $(TEACHER_OUT) coverage.out student/torch/engine/build*
