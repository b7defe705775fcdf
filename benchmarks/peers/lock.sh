#!/usr/bin/env bash
# Writes dlib.txt and mediapipe.txt: exact versions and every hash. Needs the resolver that `make lock` sets up.
set -euo pipefail
cd "$(dirname "$0")/../.."
for peer in dlib mediapipe; do
  .venv-lock/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate \
    --override benchmarks/peers/overrides.txt --custom-compile-command benchmarks/peers/lock.sh \
    --output-file "benchmarks/peers/$peer.txt" "benchmarks/peers/$peer.in"
done
