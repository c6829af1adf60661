#!/bin/bash
# Makes the virtual environment of the peers, unless it is there, and prints its Python.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${PIPE_BENCH_VENV:-$here/.venv}
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
	rm -rf "$venv"
	python3 -m venv "$venv" >&2
	"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
	cp "$here/requirements.txt" "$venv/"
fi
echo "$venv/bin/python"
