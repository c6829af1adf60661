#!/bin/bash
# Trains a small student with every loss: once to its end, and once killed with SIGKILL in the
# middle and resumed, which must leave the same checkpoint and the same ONNX file to the bit.
# Exports the result again, too. It ends with 1 if one of this fails. All losses:
#
#   PIPE_REAL_DATA=FOLDER bench/losses.sh
set -euo pipefail

usage() {
	cat <<END
usage: bench/losses.sh [DATASET --teacher NAME] [--loss EXPRESSION]... [--balanced LIST] [--batch N] [--epochs N]
                       [--width N] [--threads N] [--dir DIR]
  DATASET            a dataset with labels and a teacher's cache with mirrored embeddings (default: made of
                     \$PIPE_REAL_DATA/glint24 and models/w600k_mbf.onnx there)
  --teacher NAME     the cache (default w600k_mbf)
  --loss EXPRESSION  what to train with, may be given several times (default: every loss by itself)
  --balanced LIST    those that are trained with class-balanced batches (default "icd triplet ekd")
  --batch N          crops a step (default 64)
  --epochs N         passes over the dataset (default 3)
  --width N          of the student (default 0.25)
  --threads N        of each run (default 1)
  --dir DIR          where the runs go, and stay (default: a temporary folder)
END
	exit "$1"
}

dataset='' teacher=w600k_mbf losses=() balanced="icd triplet ekd" batch=64 epochs=3 width=0.25 threads=1 dir=''
while [ $# -gt 0 ]; do
	case $1 in
	--teacher) teacher=$2; shift ;;
	--loss) losses+=("$2"); shift ;;
	--balanced) balanced=$2; shift ;;
	--batch) batch=$2; shift ;;
	--epochs) epochs=$2; shift ;;
	--width) width=$2; shift ;;
	--threads) threads=$2; shift ;;
	--dir) dir=$2; shift ;;
	-h | --help) usage 0 ;;
	-*) usage 2 >&2 ;;
	*) dataset=$(realpath "$1") ;;
	esac
	shift
done
if [ -z "$dataset" ] && [ -z "${PIPE_REAL_DATA:-}" ]; then
	echo "name a dataset, or set PIPE_REAL_DATA" >&2
	usage 2 >&2
fi

cd "$(dirname "$0")/.." # where the training engine is looked for
if [ -z "$dir" ]; then
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
fi
mkdir -p "$dir"
pipe=$dir/pipe
${GO:-go} build -o "$pipe" ./cmd/pipe

if [ -z "$dataset" ]; then
	dataset=$dir/glint24.ds
	"$pipe" ingest --source "folder=$PIPE_REAL_DATA/glint24" --out "$dataset" >"$dir/log" 2>&1
	"$pipe" precompute-teacher "$dataset" --teacher "$PIPE_REAL_DATA/models/w600k_mbf.onnx" --name "$teacher" --flip >"$dir/log" 2>&1
fi
if [ ${#losses[@]} = 0 ]; then
	mapfile -t losses < <("$pipe" losses --no-measure --json | grep -o '"name": *"[^"]*"' | cut -d'"' -f4)
fi

distill() { # folder of the run, loss
	local sampler=uniform
	case " $balanced " in *" $2 "*) sampler=class-balanced ;; esac
	exec "$pipe" distill "$dataset" --teacher "$teacher" --loss "$2" --sampler "$sampler" --flip on --epochs "$epochs" --batch "$batch" \
		--width "$width" --dim 128 --threads "$threads" --log-every 1 --checkpoint-every 5 --out "$1" --resume --json
}

steps() { # that a run has logged
	cat "$1/metrics.jsonl" 2>/dev/null | wc -l
}

killed() { # folder of the run, loss, steps after which it is killed
	(distill "$1" "$2") >"$1.json" 2>"$1.log" &
	local run=$!
	while kill -0 $run 2>/dev/null && ! { [ "$(steps "$1")" -ge "$3" ] && ls "$1"/checkpoints/step-*.safetensors; }; do sleep 0.05; done >"$1.saved" 2>&1
	kill -KILL $run 2>/dev/null || true
	wait $run 2>/dev/null && return 1
	[ $? = 137 ]
}

compare() { # two runs
	local newest
	newest=$(basename "$(ls "$1"/checkpoints/step-*.safetensors | tail -1)")
	cmp -s "$1/student.onnx" "$2/student.onnx" && cmp -s "$1/checkpoints/$newest" "$2/checkpoints/$newest"
}

# try trains with a loss, and sets what there is to say of it.
try() {
	local whole=$1/whole broken=$1/killed loss=$2 begun
	seconds='' same='' exported=''
	rm -rf "$1" && mkdir -p "$1"
	begun=$(date +%s.%N)
	(distill "$whole" "$loss") >"$whole.json" 2>"$whole.log" || { same="failed: $(tail -1 "$whole.log")" && return; }
	seconds=$(printf %.1f "$(echo "$(date +%s.%N) - $begun" | bc)")
	killed "$broken" "$loss" $(($(steps "$whole") / 2)) || { same="not killed: $(tail -1 "$broken.log")" && return; }
	(distill "$broken" "$loss") >"$broken.json" 2>"$broken.log" || { same="not resumed: $(tail -1 "$broken.log")" && return; }
	same=no
	if ! grep -q '"resumed_at": *[1-9]' "$broken.json"; then
		same="begun anew"
	elif compare "$whole" "$broken"; then
		same=yes
	fi
	exported=no
	if "$pipe" export --checkpoint "$broken" --out "$1/again.onnx" >"$1/export.log" 2>&1 && cmp -s "$whole/student.onnx" "$1/again.onnx"; then
		exported=yes
	fi
}

begin=$(cut -d' ' -f1-3 /proc/loadavg)
failed=0 rows=()
for i in "${!losses[@]}"; do
	echo "$((i + 1)) of ${#losses[@]}: ${losses[i]}" >&2
	try "$dir/runs/$i" "${losses[i]}"
	[ "$same $exported" = "yes yes" ] || failed=1
	rows+=("| ${losses[i]} | $seconds | $same | $exported |")
	echo "${rows[-1]}" >&2
done
echo "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) processors; load before $begin, after $(cut -d' ' -f1-3 /proc/loadavg)."
printf '%s\n' "| loss | seconds | same bits after a kill | exported |" "|---|---:|---|---|" "${rows[@]}"
exit $failed
