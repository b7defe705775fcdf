#!/usr/bin/env bash
# Writes requirements/*.txt from pyproject.toml: exact versions and every hash, for all machines in one file.
#   tools/lock.sh             keeps what is locked where pyproject.toml still allows it
#   tools/lock.sh --upgrade   takes the newest that it allows
# Run `make test` afterwards; docs/adr/0003-lock-and-set-up.md says why it is done this way.
set -euo pipefail
cd "$(dirname "$0")/.."

# The resolver has an environment of its own: the kiosk's holds what the lock names and nothing else.
readonly uv=.venv-lock/bin/uv
if ! [ -x "$uv" ]; then
  "${PYTHON:-python3}" -m venv .venv-lock
  .venv-lock/bin/python -m pip install --quiet "uv==0.13.9"
fi

compile() { # NAME ARGUMENT...
  local file=requirements/$1.txt
  "$uv" pip compile --quiet --universal --generate-hashes --python-version 3.11 \
    --custom-compile-command "make lock" --output-file "$file" "${@:2}"
  echo "$file: $(grep -c '^[a-z0-9.-]*==' "$file") distributions"
}

mkdir -p requirements
compile dev pyproject.toml --extra sandbox --extra report --extra dev "$@"
# The same versions again, in parts: a kiosk in a shop has no tools, and building comes before all else.
compile runtime pyproject.toml --extra sandbox --constraints requirements/dev.txt
compile build --group build --constraints requirements/dev.txt "$@"
# An environment of its own with versions of its own: the converter's libraries hold others back (xdsl does
# typing-extensions). What converting does not need is left out; hnswlib would have to be compiled.
compile convert pyproject.toml --extra convert --no-emit-package hnswlib --no-emit-package pyside6-essentials \
  --no-emit-package shiboken6 "$@"
