#!/bin/bash
# Checks all of the engine's sources, those for CUDA devices too, against the headers of two
# releases of PyTorch for CUDA, the newest and an older one, and compiles the kernels for CUDA
# devices where the release has a compiler among its wheels. It takes no GPU. The wheels are some
# gigabytes, of which the headers stay, a few hundred megabytes, beside the peers of bench/.
#
#   PIPE_CUDA_HEADERS=DIR   where they stay
#   PIPE_CUDA_WHEELS=DIR    a folder with some or all of the wheels, which are then not brought
#   RELEASES="2.15.0 2.4.1" which of the two
#   SYNTAX="FILE ..."       only these sources
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
stay=${PIPE_CUDA_HEADERS:-$here/../../../bench/peers/.venv-cuda-headers}

# A release's wheels: what its metadata asks for that has headers, the header nv/target, which
# CUDA 12's own want and no wheel of PyTorch's asks for, and a compiler, beside which lie others that
# CUDA 12's want (crt/host_config.h).
declare -A wheels=(
	[2.15.0]="torch==2.15.0 nvidia-nccl-cu13==2.30.7 nvidia-cuda-runtime==13.2.86 nvidia-cublas==13.4.1.3 nvidia-cusparse==12.7.10.12
		nvidia-cusolver==12.2.0.11 nvidia-cuda-nvcc==13.2.86 nvidia-nvvm==13.2.86 nvidia-cuda-crt==13.2.86 nvidia-cuda-cccl==13.2.86"
	[2.4.1]="torch==2.4.1 nvidia-nccl-cu12==2.20.5 nvidia-cuda-runtime-cu12==12.1.105 nvidia-cublas-cu12==12.1.3.1
		nvidia-cusparse-cu12==12.1.0.106 nvidia-cusolver-cu12==11.4.5.107 nvidia-cuda-nvcc-cu12==12.1.105
		nvidia-cuda-cccl-cu12==12.9.27"
)

# Of the two libraries that are a gigabyte only the names stay that the Makefile looks for.
unpack() { # wheel, folder
	python3 - "$1" "$2" <<'END'
import os, sys, zipfile
wheel, folder = zipfile.ZipFile(sys.argv[1]), sys.argv[2]
names = {"torch/lib/libtorch_cpu.so": b"N4c10d16ProcessGroupGlooC1E", "torch/lib/libtorch_cuda.so": b"N4c10d16ProcessGroupNCCLC1E"}
small = ("torch/lib/libc10.so", "torch/lib/libc10_cuda.so")
compiler = ("nvidia/cu13/bin/", "nvidia/cu13/nvvm/", "nvidia/cu13/lib/libcudart", "nvidia/cu13/lib/libnvvm", "nvidia/cuda_runtime/lib/")
for m in wheel.infolist():
    if m.filename in names:
        wanted, before, found = names[m.filename], b"", False
        with wheel.open(m) as f:
            while not found and (block := f.read(1 << 24)):
                found, before = wanted in before + block, block[-len(wanted):]
        path = folder + "/" + m.filename
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, "wb").write(wanted if found else b"")
    elif "/include/" in m.filename or m.filename in small or m.filename.startswith(compiler):
        path = wheel.extract(m, folder)
        if m.external_attr >> 16 & 0o111 and not m.is_dir():
            os.chmod(path, 0o755)
END
}

# A wheel of PIPE_CUDA_WHEELS for a requirement NAME==VERSION, for whatever Python: none, or one.
local_wheel() { # requirement
	[[ ${PIPE_CUDA_WHEELS-} ]] || return 0
	local name=${1%%==*}
	find -L "$PIPE_CUDA_WHEELS" -maxdepth 1 -name "${name//-/_}-${1##*==}-*.whl" -print -quit
}

bring() { # release
	local folder=$stay/$1 requirement wheel missing=()
	[[ $(cat "$folder/wheels" 2>/dev/null) != "${wheels[$1]}" ]] || return 0
	rm -rf "$folder"
	mkdir -p "$folder/wheels.tmp"
	for requirement in ${wheels[$1]}; do
		wheel=$(local_wheel "$requirement")
		if [[ $wheel ]]; then unpack "$wheel" "$folder"; else missing+=("$requirement"); fi
	done
	if ((${#missing[@]})); then
		# shellcheck disable=SC2046 # a list
		python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
			--platform manylinux1_x86_64 --platform manylinux2010_x86_64 --platform manylinux2014_x86_64 $(printf -- '--platform manylinux_2_%d_x86_64 ' 5 12 17 18 24 27 28) \
			-d "$folder/wheels.tmp" "${missing[@]}" >&2
		for wheel in "$folder"/wheels.tmp/*.whl; do unpack "$wheel" "$folder"; done
	fi
	rm -rf "$folder/wheels.tmp"
	echo "${wheels[$1]}" >"$folder/wheels"
}

for release in ${RELEASES:-2.15.0 2.4.1}; do
	bring "$release"
	build=build-cuda-$release
	run=(make --no-print-directory -C "$here" "LIBTORCH=$stay/$release/torch" "BUILD=$build" "SYSTEM_CUDA=$stay/none" CUDA_HOME= NCCL= ${SYNTAX:+"SYNTAX=$SYNTAX"})
	echo "PyTorch $release:"
	"${run[@]}" -s found
	"${run[@]}" -s -j"$(nproc)" syntax
	if [[ -x $stay/$release/nvidia/cu13/bin/nvcc ]]; then
		"${run[@]}" -s kernels
		echo "kernels compiled for $(strings -a "$here/$build"/*.cu.o | grep -o 'sm_[0-9]*' | sort -uV | tr '\n' ' ')"
	fi
	echo "PyTorch $release: all sources agree with its headers"
done
