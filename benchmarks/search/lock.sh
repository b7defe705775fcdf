#!/usr/bin/env bash
# Writes search.txt: exact versions and every hash. Needs the resolver that `make lock` sets up.
set -euo pipefail
cd "$(dirname "$0")/../.."
.venv-lock/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate \
  --custom-compile-command benchmarks/search/lock.sh \
  --output-file benchmarks/search/search.txt benchmarks/search/search.in
