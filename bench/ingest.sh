#!/bin/bash
# Measures how fast photographs become a dataset, beside only reading and hashing them,
# beside OpenCV in Python, and beside the detector alone; one after another in every
# round. Photographs are drawn. The figures for the documents:
#
#   bench/ingest.sh --photos 20000 --rounds 5 --detector scrfd=FILE.onnx
set -euo pipefail

usage() {
	cat <<END
usage: bench/ingest.sh [--photos N] [--rounds N] [--threads N] [--detector KIND=FILE] [--dir DIR] [--no-peers]
  --photos N            photographs (default 2000; drawing them takes some ms each)
  --rounds N            measurements of everything, of which the medians are shown (default 3)
  --threads N           photographs at a time (default: one a core)
  --detector KIND=FILE  measure with this detector, too (default: do not)
  --dir DIR             where photographs and datasets go, and stay (default: a temporary folder)
  --no-peers            without Python
END
	exit "$1"
}

photos=2000 rounds=3 threads=$(nproc) detector= dir= peers=yes
while [ $# -gt 0 ]; do
	case $1 in
	--photos) photos=$2; shift ;;
	--rounds) rounds=$2; shift ;;
	--threads) threads=$2; shift ;;
	--detector) detector=$2; shift ;;
	--dir) dir=$2; shift ;;
	--no-peers) peers= ;;
	-h | --help) usage 0 ;;
	*) usage 2 >&2 ;;
	esac
	shift
done

here=$(cd "$(dirname "$0")" && pwd)
if [ -z "$dir" ]; then
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
fi
data=$dir/$photos
mkdir -p "$data"
results=$dir/ingest.jsonl
: >"$results"
(cd "$here/.." && ${GO:-go} build -o "$dir/ingest" ./bench/ingest)
if [ -n "$peers" ]; then
	python=$("$here/peers/venv.sh")
fi
echo "drawing $photos photographs" >&2
"$dir/ingest" make --dir "$data" --photos "$photos"

begin=$(cut -d' ' -f1-3 /proc/loadavg)
cd "$here/.." # where the pinned ONNX Runtime is looked for
for round in $(seq "$rounds"); do
	echo "round $round of $rounds" >&2
	for phase in hash-aligned aligned hash-photos warp-png warp-raw ${detector:+detector detect}; do
		"$dir/ingest" $phase --dir "$data" --photos "$photos" --threads "$threads" --detector "$detector" >>"$results"
	done
	[ -n "$peers" ] || continue
	for phase in warp warp-png; do
		"$python" "$here/peers/ingest.py" $phase --dir "$data" --threads "$threads" >>"$results"
	done
done

echo "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) processors; load before $begin, after $(cut -d' ' -f1-3 /proc/loadavg)."
"$dir/ingest" table <"$results"
