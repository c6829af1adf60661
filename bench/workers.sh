#!/bin/bash
# Measures two workers on one plan beside one, each with a slow device of its own. The device
# is simulated by a model: a chain of 4,032 steps (twelve LSTMs'), of which none can begin before
# the one in front of it has ended. One thread computes it, a hundred crops a second, and no
# other processor makes it faster, so that a worker waits for it as for a device. It does take
# a core, which a device would not: the machine needs one for each worker. --model takes any
# model instead, on one thread. Crops are drawn. The figures for the documents:
#
#   bench/workers.sh --rounds 3
set -euo pipefail

usage() {
	cat <<END
usage: bench/workers.sh [--model FILE] [--crops N] [--rounds N] [--dir DIR]
  --model FILE  ONNX model of the teacher (default: the simulated device)
  --crops N     crops (default 640)
  --rounds N    measurements of both, of which the medians are shown (default 3)
  --dir DIR     where everything goes, and stays (default: a temporary folder)
END
	exit "$1"
}

crops=640 rounds=3 model= dir=
while [ $# -gt 0 ]; do
	case $1 in
	--crops) crops=$2; shift ;;
	--rounds) rounds=$2; shift ;;
	--model) model=$(realpath "$2"); shift ;;
	--dir) dir=$2; shift ;;
	-h | --help) usage 0 ;;
	*) usage 2 >&2 ;;
	esac
	shift
done

cd "$(dirname "$0")/.."
if [ -z "$dir" ]; then
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
fi
mkdir -p "$dir"
make --no-print-directory build >&2
${GO:-go} build -o "$dir/teacher" ./bench/teacher
"$dir/teacher" make --dir "$dir" --crops "$crops"
model=${model:-$dir/device.onnx}
rm -rf "$dir/faces.ds" "$dir/job"
bin/pipe ingest --source folder="$dir/crops" --out "$dir/faces.ds" --shard-rows 32 --quiet >&2
bin/pipe plan precompute-teacher "$dir/faces.ds" --teacher "$model" --plan "$dir/job" --no-self-test --quiet >&2

# measure N: the seconds that N workers take together, without opening the model.
measure() {
	rm -rf "$dir/job/parts"
	for i in $(seq 0 $(($1 - 1))); do
		bin/pipe precompute-teacher --plan "$dir/job" --worker "$i/$1" --threads 1 --workers 1 --json --quiet >"$dir/$i.json" &
	done
	wait
	for i in $(seq 0 $(($1 - 1))); do
		sed 's/.*"computed": *\([0-9]*\).*"images_per_second": *\([0-9.]*\).*/\1 \2/' <(tr -d '\n' <"$dir/$i.json")
	done | awk '{ s = $1 / $2; if (s > m) m = s } END { print m }'
}

one= two=
for round in $(seq "$rounds"); do
	echo "round $round of $rounds" >&2
	one="$one $(measure 1)" two="$two $(measure 2)"
done
median() { printf '%s\n' "$@" | sort -g | awk '{ x[NR] = $1 } END { print (x[int((NR + 1) / 2)] + x[int(NR / 2) + 1]) / 2 }'; }
# shellcheck disable=SC2086 # lists of numbers
a=$(median $one) b=$(median $two)
awk -v n="$crops" -v a="$a" -v b="$b" 'BEGIN {
	print "| workers | crops/s | times one |\n|---|---:|---:|"
	printf "| 1 | %.1f | 1 |\n| 2 | %.1f | %.2f |\n", n / a, n / b, a / b }'
