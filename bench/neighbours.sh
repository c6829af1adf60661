#!/bin/bash
# Measures how long it takes to find the nearest crops of every crop, beside the product of
# matrices that comparing all with all is. The figures for the documents:
#
#   bench/neighbours.sh --rows "100000 1000000" --rounds 3
set -euo pipefail

usage() {
	cat <<END
usage: bench/neighbours.sh [--rows "N ..."] [--rounds N] [--dir DIR]
  --rows "N ..."  numbers of crops (default 20000; 1.5 KB each on disk)
  --rounds N      measurements of everything, of which the medians are shown (default 3)
  --dir DIR       where the data goes, and stays (default: a temporary folder)
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

cd "$(dirname "$0")/.."
if [ -z "$dir" ]; then
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
fi
mkdir -p "$dir"
results=$dir/neighbours.jsonl
: >"$results"
${GO:-go} build -o "$dir/neighbours" ./bench/neighbours
for n in $rows; do
	mkdir -p "$dir/$n"
	echo "making $n crops" >&2
	"$dir/neighbours" make --dir "$dir/$n" --rows "$n" >/dev/null
done
begin=$(cut -d' ' -f1-3 /proc/loadavg)
for round in $(seq "$rounds"); do
	for n in $rows; do
		echo "round $round of $rounds: $n crops" >&2
		for phase in product find; do
			"$dir/neighbours" $phase --dir "$dir/$n" --rows "$n" >>"$results"
		done
	done
done
echo "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) processors; load before $begin, after $(cut -d' ' -f1-3 /proc/loadavg)."
"$dir/neighbours" table <"$results"
