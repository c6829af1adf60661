#!/bin/bash
# Makes the datasets of docs/results.md, and runs its studies, or as much of them as is missing.
# Killed, it goes on where it stopped.
#
#   bench/results/run.sh --data DATA --out OUT
set -euo pipefail

usage() {
	cat <<END
usage: bench/results/run.sh --data DATA --out OUT [--studies "NAME ..."] [--workers N]
  --data DATA       folder with utkface, cfp/images and cfp/overlap.csv, glint24, lfw/images and
                    lfw/pairs.txt, and models (scrfd_2.5g_bnkps, w600k_mbf, mbf_y1)
  --out OUT         where datasets and studies go, and stay
  --studies LIST    which to run, in this order (default: all)
  --workers N       processes of one thread that share a study's rows (default: one a core)
END
	exit "$1"
}

here=$(cd "$(dirname "$0")" && pwd)
data= out= workers=$(nproc) studies="screening study ablations efficiency teachers"
while [ $# -gt 0 ]; do
	case $1 in
	--data) data=$(realpath "$2"); shift ;;
	--out) out=$2; shift ;;
	--studies) studies=$2; shift ;;
	--workers) workers=$2; shift ;;
	-h | --help) usage 0 ;;
	*) usage 2 >&2 ;;
	esac
	shift
done
[ -n "$data" ] && [ -n "$out" ] || usage 2 >&2
mkdir -p "$out"
out=$(realpath "$out")
cd "$here/../.."
make build engine >/dev/null
# Later builds do not change a study that runs.
cp bin/pipe student/torch/engine/build/libpipe_engine.so "$out/"
export PIPE_ENGINE=${PIPE_ENGINE:-$out/libpipe_engine.so}
export PIPE_ONNXRUNTIME=${PIPE_ONNXRUNTIME:-$(find "$PWD/third_party" -name 'libonnxruntime.so.*' | head -1)}
cd "$out"

# Nobody of the training set is, by name, in LFW or in glint24.
awk -F, -v images="$data/cfp/images" 'NR > 1 && $2 == 0 && $3 == 0 { print $1 }' "$data/cfp/overlap.csv" | while read -r id; do
	for photo in "$data/cfp/images/$id"/*.jpg; do echo "$photo,cfp$id"; done
done | sed '1i path,identity' >cfp.csv
detector=scrfd=$data/models/scrfd_2.5g_bnkps.onnx
./pipe ingest --source "folder=$data/utkface" --source manifest=cfp.csv --detector "$detector" --out train.ds -q >/dev/null
./pipe ingest --source "folder=$data/glint24" --detector none --out glint24.ds -q >/dev/null
./pipe ingest --source "folder=$data/lfw/images" --detector "$detector" --out lfw.ds -q >/dev/null
for dataset in train glint24 lfw; do
	./pipe precompute-teacher $dataset.ds --teacher "$data/models/w600k_mbf.onnx" --name w600k --flip -q >/dev/null
done
./pipe precompute-teacher train.ds --teacher "$data/models/mbf_y1.onnx" --name y1 --flip -q >/dev/null
[ -f glint24/pairs.txt ] || ./pipe eval --teacher w600k --dataset glint24.ds --pairs auto --seed 1 --out glint24 -q >/dev/null
cp "$data/lfw/pairs.txt" lfw-pairs.txt
cp "$data/models/w600k_mbf.onnx" .
find "$data/utkface" -name '*.jpg' -printf '%f\n' | sort >unlabelled.txt

# On few cores, two small students beside each other take less time than two threads of one.
status=0 before=()
for study in $studies; do
	cp "$here/$study.yaml" .
	jobs=()
	for _ in $(seq "$workers"); do
		./pipe compare "$study.yaml" --out "$study" --threads 1 --workers 1 "${before[@]}" &
		jobs+=($!)
	done
	for job in "${jobs[@]}"; do
		ended=0
		wait "$job" || ended=$?
		case $ended in
		0) ;;
		3) [ $status != 0 ] || status=3 ;; # rows failed, which stops no study
		*) status=$ended ;;
		esac
	done
	[ $status = 0 ] || [ $status = 3 ] || exit $status
	./pipe report "$study" --out "$study.html" -q
	before+=(--reuse "$study")
done
exit $status
