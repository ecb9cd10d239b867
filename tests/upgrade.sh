#!/usr/bin/env bash
# A cluster goes from an earlier program to this one and back, node by node, while clients write.
# Usage: tests/upgrade.sh REVISION: the earlier program is built of that. Takes some minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

revision=$(git rev-parse --verify "${1:?which revision is the earlier program}^{commit}")
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
program=$target/earlier/$revision/changeagent
if [ ! -x "$program" ]; then
  source=$(mktemp -d)
  trap 'rm -rf "$source"' EXIT
  git archive "$revision" | tar -x -C "$source"
  CARGO_TARGET_DIR=$target/earlier/build cargo build --locked --manifest-path "$source/Cargo.toml" --bin changeagent
  mkdir -p "$(dirname "$program")"
  cp "$target/earlier/build/debug/changeagent" "$program"
fi
CHANGEAGENT_EARLIER=$program cargo test --locked --test cluster -- --exact \
  upgrade::nodes_get_another_program_one_after_the_other_under_load
