#!/bin/bash
# Measures precompute-teacher beside its limit, the same session on a batch that stays
# where it is, and beside OpenCV and ONNX Runtime in Python; one after another in every
# round. Crops are drawn. Models are one that costs nothing, which shows what the pipeline
# alone can move (also on one core: how it scales), one of the size of a ResNet-50, and any
# file. The figures for the documents:
#
#   bench/teacher.sh --rounds 3 --model w600k_mbf.onnx
set -euo pipefail

usage() {
	cat <<END
usage: bench/teacher.sh [--crops N] [--few N] [--rounds N] [--model FILE] [--provider NAME] [--dir DIR] [--no-peers]
  --crops N        crops for the model that costs nothing (default 5000)
  --few N          crops for the others (default 300)
  --rounds N       measurements of everything, of which the medians are shown (default 3)
  --model FILE     another ONNX model to measure
  --provider NAME  execution provider (default cpu)
  --dir DIR        where crops and models go, and stay (default: a temporary folder)
  --no-peers       without Python
END
	exit "$1"
}

crops=5000 few=300 rounds=3 model= provider=cpu dir= peers=yes
while [ $# -gt 0 ]; do
	case $1 in
	--crops) crops=$2; shift ;;
	--few) few=$2; shift ;;
	--rounds) rounds=$2; shift ;;
	--model) model=$(realpath "$2"); shift ;;
	--provider) provider=$2; shift ;;
	--dir) dir=$2; shift ;;
	--no-peers) peers= ;;
	-h | --help) usage 0 ;;
	*) usage 2 >&2 ;;
	esac
	shift
done

cd "$(dirname "$0")/.." # where the pinned ONNX Runtime is looked for
if [ -z "$dir" ]; then
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
fi
mkdir -p "$dir/$crops" "$dir/$few"
results=$dir/teacher.jsonl
: >"$results"
${GO:-go} build -o "$dir/teacher" ./bench/teacher
if [ -n "$peers" ]; then
	python=$(bench/peers/venv.sh)
fi
for n in "$crops" "$few"; do
	echo "drawing $n crops" >&2
	"$dir/teacher" make --dir "$dir/$n" --crops "$n"
done

pin=
measure() { # phase, model, crops, further flags
	local phase=$1 model=$2 n=$3
	shift 3
	$pin "$dir/teacher" "$phase" --dir "$dir/$n" --crops "$n" --model "$model" --provider "$provider" "$@" >>"$results"
}

peer() { # model, crops
	[ -n "$peers" ] || return 0
	local file=$1
	[[ $file = *.onnx ]] || file=$dir/$2/$1.onnx
	"$python" bench/peers/teacher.py "precompute $(basename "$1") jpeg" --dir "$dir/$2" --crops "$2" --model "$file" --batch 32 >>"$results"
}

core=$(taskset -cp $$ | sed 's/.*: *\([0-9]*\).*/\1/') # the first that this may use
begin=$(cut -d' ' -f1-3 /proc/loadavg)
for round in $(seq "$rounds"); do
	echo "round $round of $rounds" >&2
	measure session free "$crops" --batch 32
	measure precompute free "$crops" --batch 32 --data jpeg
	peer free "$crops"
	measure precompute free "$crops" --batch 32 --data png
	measure precompute free "$crops" --batch 32 --data raw
	pin="taskset -c $core"
	measure session free "$crops" --batch 32 --on "one core"
	measure precompute free "$crops" --batch 32 --data jpeg --on "one core"
	measure precompute free "$crops" --batch 32 --data png --on "one core"
	measure precompute free "$crops" --batch 32 --data raw --on "one core"
	pin=
	for m in r50 $model; do
		measure session "$m" "$few" --seconds 10
		measure precompute "$m" "$few" --data jpeg
		peer "$m" "$few"
		measure precompute "$m" "$few" --data png
	done
done

echo "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) processors; load before $begin, after $(cut -d' ' -f1-3 /proc/loadavg)."
"$dir/teacher" table <"$results"
