#!/usr/bin/env bash
# Checks and tests, from nothing installed: bash tests/run.sh [pytest options]
# Each process takes whole files, in their order: conftest.py says why trainings come first.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../egs/common.sh"
setup
cd "$root"
say "ruff"
ruff check .
say "pytest"
exec python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@"
