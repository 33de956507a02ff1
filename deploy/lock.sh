#!/bin/sh
# Resolves pyproject.toml into deploy/requirements.lock: every version with its hashes, no address.
set -eu
cd "$(dirname "$0")/.."
tools=build/lock
.venv/bin/python -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check pip-tools
CUSTOM_COMPILE_COMMAND="make lock" "$tools/bin/pip-compile" --quiet --upgrade --extra dev --build-deps-for editable \
    --allow-unsafe --strip-extras --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-options \
    --output-file deploy/requirements.lock pyproject.toml
