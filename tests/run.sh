#!/usr/bin/env bash
# Checks and tests, from nothing installed: bash tests/run.sh [pytest options]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../egs/common.sh"
setup
cd "$root"
say "ruff"
ruff check .
say "pytest"
exec python -m pytest "$@"
