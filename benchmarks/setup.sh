#!/bin/sh
# TRL in an environment of its own: benchmarks/.venv. burnish is not installed there.
set -eu
cd "$(dirname "$0")"
"${PYTHON:-python3}" -m venv .venv
.venv/bin/python -m pip install --quiet --upgrade pip
# torch first, and pinned: another order may pull gigabytes of CUDA.
.venv/bin/python -m pip install --quiet "${TORCH:-torch==2.13.0}"
.venv/bin/python -m pip freeze | grep '^torch==' > .venv/constraints.txt
.venv/bin/python -m pip install --quiet --constraint .venv/constraints.txt 'trl>=1.16' 'transformers>=5.24,<6'
