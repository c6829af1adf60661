#!/usr/bin/env bash
# Makes testdata/teacher.onnx anew: draws people, trains a small network to tell them
# apart, and measures it on people that it has not seen. Takes a while; with the same
# libtorch on the same kind of machine the weights come out the same.
#
#   testdata/teacher.sh [WORK]    WORK keeps everything; the same command goes on
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-teacher.out}
seed=1

faces() { go run ./testdata/faces -seed "$seed" "$@"; }
ingest() {
	bin/pipe ingest --source folder="$work/$1/images" --landmarks "$work/$1/landmarks.txt" --out "$work/$1.ds"
}

faces -out "$work/train" -identities 300 -per-identity 16
faces -out "$work/test" -first 300 -identities 100 -per-identity 10
ingest train
ingest test
bin/pipe distill "$work/train.ds" --loss arcface --width 0.5 --dim 128 --epochs 12 --batch 64 --warmup 1 \
	--val-dataset "$work/test.ds" --val-pairs "$work/test/pairs.txt" --out "$work/run" --resume
bin/pipe eval --model "$work/run/student.onnx" --dataset "$work/test.ds" --pairs "$work/test/pairs.txt" --out "$work/report"
cp "$work/run/student.onnx" testdata/teacher.onnx
