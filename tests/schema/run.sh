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
: >"$work/stdout"
"$target/debug/changeagent" --data "$work/data" --listen 127.0.0.1:0 --segment-size 32MiB \
  >"$work/stdout" 2>"$work/stderr" &
node=$!
end() {
  kill "$node" 2>"$work/kill" || true
  wait "$node" || true
  rm -rf "$work"
}
trap end EXIT

url=
for _ in $(seq 300); do
  url=$(sed -n 's/^listening //p' "$work/stdout")
  [ -z "$url" ] || break
  kill -0 "$node" || break
  sleep 0.1
done
if [ -z "$url" ]; then
  echo "the node does not start:" >&2
  cat "$work/stderr" >&2
  exit 1
fi

# What `min_id=1` waits for.
curl -fsS -d '{"data":"first"}' "$url/changes" >"$work/first"

if ! SCHEMATHESIS_HOOKS=tests/schema/hooks.py PYTHONDONTWRITEBYTECODE=1 NO_PROXY=127.0.0.1 \
  "$venv/bin/schemathesis" --config-file tests/schema/schemathesis.toml run "$url/openapi.json" "$@"; then
  echo "the node said:" >&2
  tail -n 20 "$work/stderr" >&2
  exit 1
fi
# What it was sent did not end it.
curl -fsS "$url/ready" >"$work/ready"
