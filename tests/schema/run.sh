#!/usr/bin/env bash
# Holds the real program against the API document that it serves: requests are
# made up from the document, and every answer must be one that it promises.
# Needs Python 3.11 with venv, and the package index once, for the versions
# that requirements.txt fixes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

target=${CARGO_TARGET_DIR:-target}
venv=$target/schema
wanted=$venv/installed.txt
if ! cmp -s tests/schema/requirements.txt "$wanted"; then
  rm -rf "$venv"
  if ! { python3 -m venv "$venv" &&
    "$venv/bin/pip" install --quiet --no-input -r tests/schema/requirements.txt; }; then
    echo "the schema tests cannot be installed: is there no network?" >&2
    exit 1
  fi
  cp tests/schema/requirements.txt "$wanted"
fi

"$venv/bin/openapi-spec-validator" --schema 3.1 src/api/resources/openapi.json

cargo build --locked
mkdir -p "$target/tmp"
work=$(mktemp -d "$target/tmp/schema-XXXXXX")
nodes=()
end() {
  for node in "${nodes[@]}"; do
    kill "$node" 2>"$work/kill" || true
    wait "$node" || true
  done
  rm -rf "$work"
}
trap end EXIT

# Starts a node of that name with those flags; `url` is where it listens then.
start() {
  local name=$1
  shift
  : >"$work/$name.stdout"
  "$target/debug/changeagent" --data "$work/$name" --listen 127.0.0.1:0 --segment-size 32MiB "$@" \
    >"$work/$name.stdout" 2>"$work/$name.stderr" &
  nodes+=($!)
  url=
  for _ in $(seq 300); do
    url=$(sed -n 's/^listening //p' "$work/$name.stdout")
    [ -z "$url" ] || return 0
    kill -0 "${nodes[-1]}" || break
    sleep 0.1
  done
  echo "the node does not start:" >&2
  cat "$work/$name.stderr" >&2
  exit 1
}

# Holds the node of that name against a document, with those flags.
hold() {
  local name=$1
  shift
  if ! SCHEMATHESIS_HOOKS=tests/schema/hooks.py PYTHONDONTWRITEBYTECODE=1 NO_PROXY=127.0.0.1 \
    "$venv/bin/schemathesis" --config-file tests/schema/schemathesis.toml run "$@"; then
    echo "the node said:" >&2
    tail -n 20 "$work/$name.stderr" >&2
    exit 1
  fi
  # What it was sent did not end it.
  curl -fsS "$url/ready" >"$work/ready"
}

start open
# What `min_id=1` waits for.
curl -fsS -d '{"data":"first"}' "$url/changes" >"$work/first"
hold open "$url/openapi.json" "$@"

# Tokens are made by a node that asks for them; the rest was looked at above.
if [ $# = 0 ]; then
  root=schema-0123456789-0123456789-0123456789
  (umask 077 && echo "$root" >"$work/root-token")
  start closed --root-token-file "$work/root-token"
  curl -fsS -u ":$root" -d '{"data":"first"}' "$url/changes" >"$work/first"
  hold closed "$PWD/src/api/resources/openapi.json" --url "$url" --header "Authorization: Bearer $root" \
    --include-path-regex '^/tokens' --phases examples,coverage,fuzzing --max-examples 25 --workers 1
fi
