#!/bin/bash
# Measures ingest, precompute-teacher and check on a RecordIO file of many crops, and on
# one of a tenth, to see what stays flat. The figures for the documents:
#
#   bench/scale.sh --rows 1000000 --rounds 3
set -euo pipefail

usage() {
	cat <<END
usage: bench/scale.sh [--rows N] [--rounds N] [--dir DIR]
  --rows N    crops (default 20000; 1.7 KB each in the file, and again in the dataset)
  --rounds N  measurements of everything, of which the medians are shown (default 3)
  --dir DIR   where the data goes, and stays (default: a temporary folder)
END
	exit "$1"
}

rows=20000 rounds=3 dir=
while [ $# -gt 0 ]; do
	case $1 in
	--rows) rows=$2; shift ;;
	--rounds) rounds=$2; shift ;;
	--dir) dir=$2; shift ;;
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
mkdir -p "$dir"
results=$dir/scale.jsonl
: >"$results"
${GO:-go} build -o "$dir/scale" ./bench/scale
for n in $((rows / 10)) "$rows"; do
	mkdir -p "$dir/$n"
	echo "making $n crops" >&2
	"$dir/scale" make --dir "$dir/$n" --rows "$n"
done
begin=$(cut -d' ' -f1-3 /proc/loadavg)
for round in $(seq "$rounds"); do
	echo "round $round of $rounds" >&2
	for phase in ingest precompute check; do
		for n in $((rows / 10)) "$rows"; do
			"$dir/scale" $phase --dir "$dir/$n" --rows "$n" >>"$results"
		done
	done
done
echo "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) processors; load before $begin, after $(cut -d' ' -f1-3 /proc/loadavg)."
"$dir/scale" table <"$results"
