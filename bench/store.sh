#!/bin/bash
# Measures the dataset beside LMDB, HDF5, Parquet and .npy on the same rows, system
# after system in every round, and prints tables in Markdown. The figures for the
# documents:
#
#   bench/store.sh --rows 1000000 --flat 100000 --rounds 5
set -euo pipefail

usage() {
	cat <<END
usage: bench/store.sh [--rows N] [--flat N] [--rounds N] [--threads N] [--seconds S] [--dir DIR] [--no-peers]
  --rows N      rows in every container (default 50000; 1.3 KB each, and each container)
  --flat N      measure pipe with so many rows, too, to see what stays flat (default: do not)
  --rounds N    measurements of everything, of which the medians are shown (default 3)
  --threads N   threads that read at random (default: one a core)
  --seconds S   how long to read at random (default 2)
  --dir DIR     where the data goes, and stays (default: a temporary folder)
  --no-peers    pipe alone, without Python
END
	exit "$1"
}

rows=50000 flat= rounds=3 threads=$(nproc) seconds=2 dir= peers=yes
while [ $# -gt 0 ]; do
	case $1 in
	--rows) rows=$2; shift ;;
	--flat) flat=$2; shift ;;
	--rounds) rounds=$2; shift ;;
	--threads) threads=$2; shift ;;
	--seconds) seconds=$2; shift ;;
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
mkdir -p "$dir/$rows" ${flat:+"$dir/$flat"}
results=$dir/results.jsonl
: >"$results"
(cd "$here/.." && ${GO:-go} build -o "$dir/store" ./bench/store)

pipe() { # rows phase
	"$dir/store" "$2" --dir "$dir/$1" --rows "$1" --threads "$threads" --seconds "$seconds" >>"$results"
}
peer() { # system phase
	"$python" "$here/peers/store.py" "$1" "$2" --dir "$dir/$rows" --rows "$rows" --threads "$threads" --seconds "$seconds" >>"$results"
}

if [ -n "$peers" ]; then
	python=$("$here/peers/venv.sh")
	"$dir/store" export --dir "$dir/$rows" --rows "$rows" >/dev/null
fi
begin=$(cut -d' ' -f1-3 /proc/loadavg)
for round in $(seq "$rounds"); do
	echo "round $round of $rounds" >&2
	for phase in write embed index open lookup-id read-id read-row scan sequential check; do
		for n in $rows $flat; do
			pipe "$n" $phase
		done
		[ -n "$peers" ] || continue
		case $phase in
		write | sequential)
			for system in lmdb hdf5 parquet npy; do peer $system $phase; done ;;
		read-id)
			peer lmdb read-id ;;
		read-row)
			for system in hdf5 parquet npy; do peer $system read-row; done ;;
		esac
	done
done

echo "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) processors; load before $begin, after $(cut -d' ' -f1-3 /proc/loadavg)."
"$dir/store" table <"$results"
