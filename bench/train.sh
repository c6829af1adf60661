#!/bin/bash
# Measures distill beside PyTorch, of Debian and the newest, which train the same student
# on the same crops in every precision and layout, one after another in every round; beside
# a network of only the convolutions; and beside what distilling costs with the teacher in
# the loop. Crops are drawn. The figures for the documents:
#
#   bench/train.sh --rounds 3 --steps 12 --bank --flat 5000 --model w600k_mbf.onnx
set -euo pipefail

usage() {
	cat <<END
usage: bench/train.sh [--rounds N] [--batch N] [--steps N] [--students LIST] [--model FILE] [--bank] [--dir DIR]
                      [--flat STEPS] [--precisions LIST] [--no-teacher] [--no-peers]
  --rounds N       measurements of everything, of which the medians are shown (default 3)
  --batch N        crops a step (default 64)
  --steps N        steps that count (default 20); half as many but for the first student
  --students LIST  networks to train, the first also with a teacher (default "mobilefacenet ir18")
  --model FILE     an ONNX model to ask in the loop, besides a ResNet-50-size network
  --bank           also the unified loss, until after its bank is full: some minutes a round
  --flat STEPS     also the memory of so many steps of batch 4, with cosine and unified loss: some minutes
  --dir DIR        where crops and datasets go, and stay (default: a temporary folder)
  --precisions LIST
                   those of PyTorch (default "fp32 bf16"); without AVX-512 its bf16 takes tens of
                   seconds a step
  --no-teacher     without a teacher in the loop
  --no-peers       without Python
PIPE_BENCH_DEBIAN_PYTHON is the Python that has Debian's python3-torch and python3-opencv
(default /usr/bin/python3). Without them there, only the newest PyTorch is measured.
END
	exit "$1"
}

rounds=3 batch=64 steps=20 students="mobilefacenet ir18" model= bank= flat= dir= precisions="fp32 bf16" teachers=yes peers=yes
while [ $# -gt 0 ]; do
	case $1 in
	--rounds) rounds=$2; shift ;;
	--batch) batch=$2; shift ;;
	--steps) steps=$2; shift ;;
	--students) students=$2; shift ;;
	--model) model=$(realpath "$2"); shift ;;
	--bank) bank=yes ;;
	--flat) flat=$2; shift ;;
	--dir) dir=$2; shift ;;
	--precisions) precisions=$2; shift ;;
	--no-teacher) teachers= ;;
	--no-peers) peers= ;;
	-h | --help) usage 0 ;;
	*) usage 2 >&2 ;;
	esac
	shift
done

cd "$(dirname "$0")/.." # where the training engine is looked for
if [ -z "$dir" ]; then
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
fi
warm=3 teacher_steps=5 # steps before those that count; steps with a teacher
full=$((16384 / batch + 4))
few=$((batch * (warm + steps))) fewer=$((batch * (warm + steps / 2))) many=$((batch * (full + steps)))
mkdir -p "$dir/few" "$dir/fewer" "$dir/many"
results=$dir/train.jsonl
: >"$results"
${GO:-go} build -o "$dir/train" ./bench/train
"$dir/train" make --dir "$dir/few" --crops "$few"
"$dir/train" make --dir "$dir/fewer" --crops "$fewer"
[ -z "$bank" ] || "$dir/train" make --dir "$dir/many" --crops "$many"
if [ -n "$peers" ]; then
	debian=${PIPE_BENCH_DEBIAN_PYTHON:-/usr/bin/python3}
	newest=$(bench/peers/venv.sh torch)
	pythons=("$newest")
	if "$debian" -c 'import torch, cv2' 2>/dev/null; then
		pythons=("$debian" "$newest")
	else
		echo "$debian has no torch or no cv2: PyTorch is only measured as of PyPI" >&2
	fi
fi

if [ -n "$flat" ]; then
	for loss in cosine unified; do
		"$dir/train" flat --dir "$dir/few" --epochs "$(((flat * 4 + few - 1) / few))" --batch 4 --student "${students%% *}" --precision bf16 --loss "$loss"
	done
fi

distill() { # student and further flags
	"$dir/train" distill --dir "$data" --batch "$batch" --warm "$warm" --student "$@" >>"$results"
}

torch() { # Python, student and further flags
	local python=$1 student=$2
	shift 2
	"$python" bench/peers/train.py --dir "$data" --batch "$batch" --warm "$warm" --crops "$few" --student "$student" "$@" >>"$results"
}

best() { # the layout of a precision that is the faster one in torch.compile and with a teacher
	[ "$1" = fp32 ] || echo --channels-last
}

begin=$(cut -d' ' -f1-3 /proc/loadavg)
for round in $(seq "$rounds"); do
	for student in $students; do
		first=
		data=$dir/fewer
		if [ "$student" = "${students%% *}" ]; then
			first=yes data=$dir/few
		fi
		echo "round $round of $rounds: $student" >&2
		distill "$student" --precision bf16
		distill "$student" --precision bf16 --data png
		distill "$student" --precision fp32
		if [ -n "$bank" ] && [ -n "$first" ]; then
			"$dir/train" distill --dir "$dir/many" --batch "$batch" --warm "$full" --student "$student" --precision bf16 --loss unified >>"$results"
		fi
		[ -n "$peers" ] || continue
		for python in "${pythons[@]}"; do
			for precision in $precisions; do
				torch "$python" "$student" --precision "$precision"
				torch "$python" "$student" --precision "$precision" --channels-last
			done
		done
		for precision in $precisions; do
			torch "$newest" "$student" --precision "$precision" $(best "$precision") --compile
			torch "${pythons[0]}" "$student" --precision "$precision" --channels-last --convolutions
		done
		[ -n "$first" ] && [ -n "$teachers" ] || continue
		for teacher in ir50 $model; do
			for precision in $precisions; do
				torch "$newest" "$student" --precision "$precision" $(best "$precision") --crops "$((batch * (warm + teacher_steps)))" --teacher "$teacher"
			done
		done
	done
done

echo "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) processors; load before $begin, after $(cut -d' ' -f1-3 /proc/loadavg)."
"$dir/train" table <"$results"
