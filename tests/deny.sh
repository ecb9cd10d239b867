#!/usr/bin/env bash
# Holds all dependencies, of every platform, against deny.toml by cargo-deny, and against the advisories about them where these
# can be had. Builds cargo-deny once, where it is not installed: that takes some minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=0.20.2
deny=$(command -v cargo-deny) || deny=
if [ -z "$deny" ]; then
  root=${CARGO_TARGET_DIR:-target}/deny-$version
  deny=$root/bin/cargo-deny
  [ -x "$deny" ] || cargo install --quiet --locked --root "$root" "cargo-deny@$version"
fi

"$deny" --locked check licenses bans sources
if timeout 60 "$deny" --locked fetch db; then
  "$deny" --locked check advisories
else
  echo "advisories cannot be had here: dependencies are not held against them" >&2
fi
