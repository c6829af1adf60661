#!/bin/bash
# Makes the virtual environment of the peers, unless it is there, and prints its Python.
# With an argument that of another list of packages: torch, the newest PyTorch, which is
# some gigabytes large; tensorboard, for the tests that read event files with it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
suffix=${1:+-$1}
venv=${PIPE_BENCH_VENV:-$here/.venv}$suffix
requirements=$here/requirements$suffix.txt
if ! cmp -s "$requirements" "$venv/requirements.txt"; then
	rm -rf "$venv"
	python3 -m venv "$venv" >&2
	"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" >&2
	cp "$requirements" "$venv/requirements.txt"
fi
echo "$venv/bin/python"
