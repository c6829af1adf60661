#!/bin/bash
# Checks the figures of verification against scikit-learn and against the rules of InsightFace
# and FaceX-Zoo, written in Python from their descriptions, on the same scores. Fails where a
# figure differs. The table for the documents:
#
#   bench/eval.sh [--scores FILE.csv]...
set -euo pipefail

usage() {
	cat <<END
usage: bench/eval.sh [--scores FILE.csv]... [--dir DIR]
  --scores FILE.csv  scores of your own, too: columns distance and same (1 or 0), in the order
                     of the pairs
  --dir DIR          where the lists go, and stay (default: a temporary folder)
END
	exit "$1"
}

lists=() dir=
while [ $# -gt 0 ]; do
	case $1 in
	--scores) lists+=("$(realpath "$2")"); shift ;;
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
python=$(bench/peers/venv.sh eval)
${GO:-go} build -o "$dir/eval-exact" ./bench/eval-exact
"$dir/eval-exact" make "$dir"
arguments=()
for list in "$dir"/*.csv "${lists[@]}"; do
	figures=$dir/$(basename "$list" .csv).json
	"$dir/eval-exact" figures "$list" >"$figures"
	arguments+=("$list" "$figures")
done
"$python" -c 'import numpy, scipy, sklearn; print(f"scikit-learn {sklearn.__version__}, SciPy {scipy.__version__}, NumPy {numpy.__version__}.\n")'
"$python" bench/peers/eval.py "${arguments[@]}"
