#!/usr/bin/env bash
# Brings what pipe needs beside Go: Debian packages, the ONNX Runtime library from
# npm, Go modules. What is present is skipped; every step says what it installs and
# why. Nothing but the Debian, npm and Go registries is contacted.
#
#   LIBTORCH=DIR   use this libtorch instead of Debian's.
#   SLURM=yes      bring Slurm, too, for make test-slurm.
#   ARM64=yes      bring a compiler and an emulator for arm64, too, for make test-arm64.
#   TENSORBOARD=yes  bring what makes a virtual environment, too, for make test-tensorboard.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

say() { printf 'deps: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

has_package() {
	[[ $(dpkg-query -W -f='${Status}' "$1" 2>/dev/null) == 'install ok installed' ]]
}

missing=() # Debian packages to install

# want PACKAGE REASON: the package itself must be installed.
want() {
	has_package "$1" && return
	say "$1: $2"
	missing+=("$1")
}

# want_command COMMAND PACKAGE REASON: any installation of the command will do.
want_command() {
	command -v "$1" >/dev/null && return
	say "$2: $3"
	missing+=("$2")
}

check_go() {
	command -v go >/dev/null || die 'Go is missing: install Go 1.26 or later from https://go.dev/dl (Debian 12 ships 1.19)'
	# An older Go (1.21 or later) fetches the right one by itself unless told not to.
	(cd "$root" && go version >/dev/null) || die 'this Go cannot build the module: install Go 1.26 or later from https://go.dev/dl'
}

debian_packages() {
	want_command g++ g++ 'compiles the training engine and the cgo part of the ONNX Runtime binding'
	want_command make make 'runs the Makefile'
	want_command npm npm 'fetches the pinned ONNX Runtime library'
	want libturbojpeg0 'decodes JPEG four to five times faster than the standard library (optional at run time)'
	if [[ -z ${LIBTORCH:-} ]]; then
		want libtorch-dev 'the tensor and autograd library behind pipe distill'
		want libopenblas0-openmp "a fast BLAS in libtorch's own threading model (Debian's libtorch else takes the slow reference BLAS)"
	elif [[ ! -d $LIBTORCH/include || ! -d $LIBTORCH/lib ]]; then
		die "LIBTORCH=$LIBTORCH has no include and lib folders"
	fi
	if [[ -n ${SLURM:-} ]]; then
		want slurm-wlm 'the scheduler that make test-slurm runs'
		want munge 'authenticates its daemons'
	fi
	if [[ -n ${ARM64:-} ]]; then
		want_command aarch64-linux-gnu-g++ g++-aarch64-linux-gnu "compiles the engine's loops for arm64"
		want_command qemu-aarch64 qemu-user 'runs them'
	fi
	if [[ -n ${TENSORBOARD:-} ]] && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
		want python3-venv "makes TensorBoard's virtual environment"
	fi
	((${#missing[@]})) || { say 'Debian packages: present'; return; }
	local install="apt-get install -y --no-install-recommends ${missing[*]}"
	command -v apt-get >/dev/null ||
		die "no apt-get here: install what the Debian packages (${missing[*]}) hold by other means, libtorch through LIBTORCH=DIR"
	((EUID == 0)) || die "not root: run 'apt-get update && $install' as root, then 'make deps' again"
	export DEBIAN_FRONTEND=noninteractive
	local lock='-o DPkg::Lock::Timeout=300'
	# One unreachable extra source must not stop what the others offer.
	apt-get $lock update -q || say 'apt-get update failed in part; going on with the lists at hand'
	apt-get $lock install -q -y --no-install-recommends "${missing[@]}"
}

onnxruntime() {
	local dir=$root/third_party/onnxruntime
	local stamp=$dir/node_modules/.installed-lock.json
	if cmp -s "$dir/package-lock.json" "$stamp"; then
		say 'ONNX Runtime: present'
		return
	fi
	say 'onnxruntime-node (npm, pinned by its lock file, without its install script): libonnxruntime.so, which runs teachers, students and detectors'
	(cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund)
	cp "$dir/package-lock.json" "$stamp"
}

go_modules() {
	say 'Go modules: as go.sum lists them'
	(cd "$root" && go mod download)
}

check_go
debian_packages
onnxruntime
go_modules
