#!/bin/bash
# On a machine with a CUDA GPU: builds the training engine against the PyTorch of its Python,
# runs the tests of its kernels on the GPU, checks losses there against the processor's, and
# measures distill beside PyTorch, eager and compiled, at several batch sizes. Crops are
# drawn.
#
# Where there is no Go, build the programs before, here or elsewhere, and bring them along:
#
#   go build -o bin/bench-train ./bench/train
#   go test -c -o bin/torch.test ./student/torch
#   go test -c -o bin/optim.test ./student/optim
set -euo pipefail

usage() {
	cat <<END
usage: bench/gpu.sh [--students LIST] [--batches LIST] [--rounds N] [--steps N] [--dir DIR] [--no-peers]
  --students LIST  networks (default "mobilefacenet ir50")
  --batches LIST   crops a step (default "128 256 512 1024")
  --rounds N       measurements of everything, of which the medians are shown (default 3)
  --steps N        steps of a measurement (default 30, the first 10 do not count)
  --dir DIR        where crops and datasets go, and stay (default: a temporary folder)
  --no-peers       without PyTorch's own training
PIPE_BENCH_PYTHON is a Python with a CUDA build of torch (default python3).
END
	exit "$1"
}

students="mobilefacenet ir50" batches="128 256 512 1024" rounds=3 steps=30 dir= peers=yes
while [ $# -gt 0 ]; do
	case $1 in
	--students) students=$2; shift ;;
	--batches) batches=$2; shift ;;
	--rounds) rounds=$2; shift ;;
	--steps) steps=$2; shift ;;
	--dir) dir=$2; shift ;;
	--no-peers) peers= ;;
	-h | --help) usage 0 ;;
	*) usage 2 >&2 ;;
	esac
	shift
done

cd "$(dirname "$0")/.."
python=${PIPE_BENCH_PYTHON:-python3}
torch=$("$python" -c 'import torch, os; print(os.path.dirname(torch.__file__))')
if command -v "${GO:-go}" >/dev/null; then
	${GO:-go} build -o bin/bench-train ./bench/train
	for package in torch optim; do
		${GO:-go} test -c -o "bin/$package.test" "./student/$package"
	done
fi
for program in bench-train torch.test optim.test; do
	[ -x "bin/$program" ] || { echo "bench/gpu.sh: no Go here and no bin/$program: see the top of this script" >&2; exit 1; }
done
echo "engine against $torch" >&2
engine=(make --no-print-directory -C student/torch/engine BUILD=build-gpu LIBTORCH="$torch")
"${engine[@]}" -s found
# Without kernels of its own or NCCL the engine works, and measures something else.
if "${engine[@]}" -s found | grep -E '^(nccl|nvcc) +none'; then
	echo "bench/gpu.sh: the engine would lack these: install them beside torch (nvidia-cuda-nvcc, nvidia-nccl-cu13), or name them (CUDA_HOME=DIR, NCCL=DIR)" >&2
	exit 1
fi
"${engine[@]}" -j"$(nproc)" >&2
export PIPE_ENGINE=$PWD/student/torch/engine/build-gpu/libpipe_engine.so
if [ -z "$dir" ]; then
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
fi
mkdir -p "$dir"
results=$dir/gpu.jsonl
: >"$results"

data() { # number of crops
	[ -e "$dir/$1/targets.npy" ] || { mkdir -p "$dir/$1"; bin/bench-train make --dir "$dir/$1" --crops "$1"; }
}

echo "Kernels:"
for package in torch optim; do
	log=$dir/$package.txt
	PIPE_TEST_CUDA=yes "bin/$package.test" -test.v -test.run '^(TestNormAct|TestPixels|TestSGD|TestKernelsOnCUDA)' >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
	# Tests that find no GPU skip, and that would pass. TestKernelsOnCUDA fails where there is one
	# that does not run the engine's kernels.
	grep -- '--- PASS: .*/cuda' "$log" || { echo "bench/gpu.sh: the engine finds no GPU" >&2; exit 1; }
done

echo "GPU and processor, 20 steps:"
data 640
for student in $students; do
	for loss in cosine unified; do
		bin/bench-train agree --dir "$dir/640" --batch 32 --student "$student" --loss "$loss" --precision fp32 --device cuda
	done
done
for round in $(seq "$rounds"); do
	for student in $students; do
		for batch in $batches; do
			crops=$((batch * steps))
			data "$crops"
			bin/bench-train distill --dir "$dir/$crops" --batch "$batch" --warm 10 --student "$student" --precision bf16 --device cuda >>"$results"
			[ -n "$peers" ] || continue
			for how in "" --compile; do
				"$python" bench/peers/train.py --dir "$dir/$crops" --crops "$crops" --batch "$batch" --warm 10 --student "$student" \
					--precision bf16 --channels-last --resident --device cuda $how >>"$results"
			done
		done
	done
done
"$python" -c 'import torch; print(torch.cuda.get_device_name(0) + ", torch " + torch.__version__)'
bin/bench-train table <"$results"
