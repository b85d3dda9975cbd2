#!/usr/bin/env bash
# The whole custom-training dialect with curl and jq, against a running daemon that has the dialect on
# (docs/custom-training.md): model, script and files, data, a run on each Python, logs, curve, version,
# promotion, download by a signed link, a test, the audit log; then every error code.
#
#   examples/custom_training_walk.sh [FOLDER]
#
# Writes loans.csv, model.onnx and model.joblib to FOLDER (default: custom-training).
# TRAINBOX_URL              the daemon; default http://127.0.0.1:8422
# TRAINBOX_JWT_SECRET_FILE  the daemon's key_file, for HS256
# TRAINBOX_JWT_CLAIMS       further claims as JSON, such as {"iss": "…", "aud": "trainbox"}
set -euo pipefail

url=${TRAINBOX_URL:-http://127.0.0.1:8422}
folder=${1:-custom-training}
here=$(dirname "$0")/custom_training
more=${TRAINBOX_JWT_CLAIMS:-'{}'}
models=/api/v1/models
mkdir -p "$folder"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

mint() { # CLAIMS: a token for ten minutes; in production your identity provider makes them
  python3 -c 'import base64, hashlib, hmac, json, sys, time
b = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=")
claims = {"exp": int(time.time()) + 600, **json.loads(sys.argv[2]), **json.loads(sys.argv[3])}
text = b(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()) + b"." + b(json.dumps(claims).encode())
key = open(sys.argv[1], "rb").read().rstrip(b"\r\n")
print((text + b"." + b(hmac.new(key, text, hashlib.sha256).digest())).decode())' \
    "${TRAINBOX_JWT_SECRET_FILE:?names the daemons key_file}" "$more" "$1"
}

as() { # NAME CLAIMS: who sends what follows; the token goes to curl in a file, not in its arguments
  printf 'Authorization: Bearer %s\n' "$(mint "$2")" >"$scratch/$1"
}

send() { # NAME METHOD PATH [curl options]: status in $status, answer in $answer
  local name=$1 method=$2 path=$3
  shift 3
  answer=$(curl --noproxy '*' -sS -X "$method" -H "@$scratch/$name" -w '\n%{http_code}' "$@" "$url$path")
  status=${answer##*$'\n'}
  answer=${answer%$'\n'*}
}

call() { # METHOD PATH [curl options]: the answer on stdout; a refusal ends the script
  send ada "$@"
  if ((status >= 400)); then
    echo "$1 $2: $status $answer" >&2
    exit 1
  fi
  printf '%s\n' "$answer"
}

json() { # METHOD PATH DOCUMENT
  call "$1" "$2" -H 'Content-Type: application/json' --data-binary "$3"
}

refused() { # STATUS WHY NAME METHOD PATH [curl options]: the walk ends unless that is the answer
  local wanted=$1 why=$2
  shift 2
  send "$@"
  printf '   %s %-34s %s\n' "$status" "$why" "$(jq -c .detail <<<"$answer" | cut -c1-96)" >&2
  [[ $status == "$wanted" ]] || { echo "expected $wanted" >&2; exit 1; }
}

as ada '{"org_id": "acme", "sub": "ada@acme.example", "permissions": ["model:*", "dataset:*"]}'
as reader '{"org_id": "acme", "sub": "rae@acme.example", "permissions": ["model:read"]}'
as eve '{"org_id": "other", "sub": "eve@other.example", "permissions": ["model:*", "dataset:*"]}'
as late '{"org_id": "acme", "sub": "ada@acme.example", "permissions": ["*"], "exp": 1000000000}'
: >"$scratch/nobody"

echo "1. A model, a draft" >&2
model=$(json POST $models "$(jq -n --arg name "loans $(date +%s%N)" '{name: $name, model_type: "custom",
  task_type: "classification", tags: ["example"],
  config: {target_column: "repaid", feature_columns: ["amount", "income"]}}')" | jq -r .model_id)
echo "   $model" >&2

echo "2. Its script and what lies beside it" >&2
asset() { # TYPE FILE
  call POST "$models/$model/custom/assets" -F "file=@$2" -F "asset_type=$1" -F "filename=${2##*/}" |
    jq -r '"   \(.asset_id) \(.asset_type) \(.filename) \(.size_bytes) bytes"' >&2
}
asset script "$here/train.py"
asset other "$here/onnx_file.py"
asset config "$here/settings.json"

echo "3. Data, linked: 400 made-up loans" >&2
LC_ALL=C awk 'BEGIN {
  srand(7); print "amount,income,repaid"
  for (i = 1; i <= 400; i++) {
    amount = int(1000 + rand() * 29000); income = int(800 + rand() * 5200)
    print amount "," income "," (income / 1500 - amount / 12000 + rand() * 1.6 > 0.9 ? "yes" : "no")
  }
}' >"$folder/loans.csv"
dataset=$(call POST /api/v1/datasets -F "file=@$folder/loans.csv;type=text/csv" | jq -r .dataset_id)
json POST "$models/$model/dataset" "{\"dataset_id\": \"$dataset\"}" |
  jq -r '"   \(.dataset_name) \(.dataset_id)"' >&2

train() { # RUNTIME
  jq -n --arg runtime "$1" '{entry_point: "train.py", runtime: $runtime,
    environment_vars: {LEARNING_RATE: "0.05", EPOCHS: "60"}, run_label: "walk on \($runtime)",
    compute: {cpu_cores: 1, memory_gb: 1, gpu: false}, timeout_seconds: 600}'
}

echo "4. A run on each Python" >&2
for runtime in python3.10 python3.11 python3.12; do
  run=$(json POST "$models/$model/custom/train" "$(train $runtime)" | jq -r .run_id)
  refused 409 "while a run is in progress" ada POST "$models/$model/custom/train" \
    -H 'Content-Type: application/json' --data-binary "$(train $runtime)"
  seen=0 state=queued
  until [[ $state =~ ^(completed|failed|cancelled)$ ]]; do
    sleep 0.3
    state=$(call GET "$models/$model/runs/$run" | jq -r .status)
    lines=$(call GET "$models/$model/training-logs?run_id=$run&limit=5000&offset=$seen")
    seen=$((seen + $(jq '.lines | length' <<<"$lines")))
    jq -r '.lines[] | select(.message | startswith("{") | not) | "   \(.level) \(.message)"' <<<"$lines" >&2
  done
  call GET "$models/$model/training-metrics?run_id=$run&resolution=5" | jq -r '"   \(.run_id) \(.status), "
    + "\(.epochs_completed) of \(.total_epochs) epochs: "
    + ([.metrics.accuracy[]? | "\(.epoch): \(.value * 1000 | round / 1000)"] | join("  "))' >&2
  [[ $state == completed ]] || { call GET "$models/$model/training-logs?tail=true" >&2; exit 3; }
done

echo "5. What it took" >&2
call GET "$models/$model/training-metrics/details" | jq -r '"   \(.duration_seconds) s, "
  + (.resource_usage | "peak \(.peak_cpu_percent) % of a core, \(.peak_memory_mb) MiB; ")
  + ([.pipeline_stages[] | "\(.stage) \(.duration_seconds) s"] | join(", "))' >&2
call GET "$models/$model/training-logs/download?format=txt" >"$scratch/log"
grep -q 'WARNING .*this is an example' "$scratch/log"

echo "6. Versions; the newest is promoted" >&2
version=$(call GET "$models/$model/versions" | jq -r '.versions[0].version_id')
refused 422 "no version promoted yet" ada GET "$models/$model/download"
call POST "$models/$model/versions/$version/promote" |
  jq -r '"   \(.version_id), version \(.version), promoted: \(.promoted)"' >&2

echo "7. Files, by links that need no token" >&2
for format in onnx joblib; do
  link=$(call GET "$models/$model/download?format=$format&expires_in=120")
  curl --noproxy '*' -sSf -o "$folder/model.$format" "$(jq -r .download_url <<<"$link")"
  [[ $(jq -r .digest <<<"$link") == "sha256:$(sha256sum "$folder/model.$format" | cut -d' ' -f1)" ]]
  echo "   $folder/model.$format" >&2
done

echo "8. A test" >&2
json POST "$models/$model/test" '{"inputs": {"amount": 4000, "income": 5100}}' | jq -c . >&2
json POST "$models/$model/test" '{"inputs": {"amount": 4000, "income": 5100}}' | jq -e '.prediction == "yes"' >/dev/null

echo "9. Every error code" >&2
refused 401 "no token" nobody GET "$models/$model"
refused 401 "an expired token" late GET "$models/$model"
refused 403 "without the permission" reader POST "$models/$model/custom/train"
refused 403 "another organisation's model" eve GET "$models/$model"
tampered=$(jq -r .download_url <<<"$link")
refused 403 "a link that was changed" nobody GET "${tampered#"$url"}0"
refused 404 "no such model" ada GET "$models/mdl-0000000000000000"
refused 404 "no such run" ada GET "$models/$model/training-logs?run_id=run-custom-20260313-000000"
refused 409 "a name that is taken" ada POST $models -H 'Content-Type: application/json' \
  --data-binary "$(call GET "$models/$model" | jq '{name, model_type, task_type}')"
truncate -s 501M "$scratch/large.bin"
refused 413 "a file over 500 MB" ada POST "$models/$model/custom/assets" \
  -F "file=@$scratch/large.bin" -F asset_type=weights -F filename=large.bin
refused 422 "an entry point that is no script" ada POST "$models/$model/custom/train" \
  -H 'Content-Type: application/json' --data-binary "$(train python3.11 | jq '.entry_point = "settings.json"')"
refused 422 "an unknown runtime" ada POST "$models/$model/custom/train" \
  -H 'Content-Type: application/json' --data-binary "$(train python3.9)"
refused 422 "a reserved variable" ada POST "$models/$model/custom/train" -H 'Content-Type: application/json' \
  --data-binary "$(train python3.11 | jq '.environment_vars = {LD_PRELOAD: "x"}')"
refused 422 "a column that is missing" ada POST "$models/$model/test" \
  -H 'Content-Type: application/json' --data-binary '{"inputs": {"amount": 4000}}'
bare=$(json POST $models "$(jq -n --arg name "bare $model" '{name: $name, model_type: "custom",
  task_type: "regression"}')" | jq -r .model_id)
refused 422 "no script uploaded" ada POST "$models/$bare/custom/train" \
  -H 'Content-Type: application/json' --data-binary "$(train python3.11)"
refused 409 "a test of a draft" ada POST "$models/$bare/test" \
  -H 'Content-Type: application/json' --data-binary '{"inputs": {"amount": 4000}}'
call DELETE "$models/$bare" >/dev/null

echo "10. Who did what" >&2
call GET "$models/$model/audit-logs?sort_order=asc" |
  jq -r '.entries[] | "   \(.timestamp) \(.actor_id) \(.action)"' >&2
echo "$model"
