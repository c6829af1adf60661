#!/bin/bash
# Measures the protocols with many comparisons: IJB-C's 1:1 and 1:N on data of its size, beside
# numpy, and all pairs of a set beside the product of matrices that they are. The figures for the
# documents:
#
#   bench/evalspeed.sh --rounds 3
set -euo pipefail

usage() {
	cat <<END
usage: bench/evalspeed.sh [--rows N] [--rounds N] [--no-peers] [--dir DIR]
  --rows N    crops of all pairs (default 50000)
  --rounds N  measurements of everything, of which the medians are shown (default 3)
  --no-peers  without numpy
  --dir DIR   where the data goes, and stays: 1.2 GB (default: a temporary folder)
END
	exit "$1"
}

rows=50000 rounds=3 peers=yes dir=
while [ $# -gt 0 ]; do
	case $1 in
	--rows) rows=$2; shift ;;
	--rounds) rounds=$2; shift ;;
	--no-peers) peers= ;;
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
results=$dir/evalspeed.jsonl
: >"$results"
${GO:-go} build -o "$dir/evalspeed" ./bench/evalspeed
[ -z "$peers" ] || python=$(bench/peers/venv.sh)
echo "making data of IJB-C's size" >&2
"$dir/evalspeed" make --dir "$dir" >/dev/null
begin=$(cut -d' ' -f1-3 /proc/loadavg)
for round in $(seq "$rounds"); do
	for phase in 1:1 1:N; do
		echo "round $round of $rounds: $phase" >&2
		"$dir/evalspeed" $phase --dir "$dir" >>"$results"
		[ -z "$peers" ] || "$python" bench/peers/ijb.py $phase --dir "$dir" >>"$results"
	done
	for phase in product pairs; do
		echo "round $round of $rounds: $phase" >&2
		"$dir/evalspeed" $phase --dir "$dir" --rows "$rows" >>"$results"
	done
done
echo "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) processors; load before $begin, after $(cut -d' ' -f1-3 /proc/loadavg)."
"$dir/evalspeed" table <"$results"
