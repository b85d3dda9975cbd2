#!/usr/bin/env bash
# The whole way with nothing but curl and jq, against a running daemon ("trainbox serve"):
# upload a CSV with strings, dates and gaps, train with 20 trials, follow the events, download the
# ONNX, predict.
#
#   examples/train_and_predict.sh [FOLDER]
#
# Writes loans.csv, model.onnx, rows.json and answer.json to FOLDER (default: loans).
# TRAINBOX_URL    the daemon; default http://127.0.0.1:8422
# TRAINBOX_TOKEN  else read from $TRAINBOX_STATE_DIR/token or ~/.local/state/trainbox/token
set -euo pipefail

url=${TRAINBOX_URL:-http://127.0.0.1:8422}
state=${TRAINBOX_STATE_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/trainbox}
token=${TRAINBOX_TOKEN:-$(cat "$state/token")}
folder=${1:-loans}
mkdir -p "$folder"

# The token goes to curl in a file, not in its arguments: those show in the process list.
secret=$(mktemp)
trap 'rm -f "$secret"' EXIT
printf 'Authorization: Bearer %s\n' "$token" >"$secret"

call() { # METHOD PATH [curl options]: the answer on stdout; a refusal ends the script with its words
  local method=$1 path=$2 answer status
  shift 2
  answer=$(curl --noproxy '*' -sS -X "$method" -H "@$secret" -w '\n%{http_code}' "$@" "$url$path")
  status=${answer##*$'\n'}
  answer=${answer%$'\n'*}
  if ((status >= 400)); then
    jq -r '"\(.status) \(.code): \(.detail) \(.hint)", (.errors[] | "  \(.loc | join(".")): \(.msg)")' \
      <<<"$answer" >&2
    exit 1
  fi
  printf '%s\n' "$answer"
}

echo "1. Data: 600 made-up loans, with strings, dates and gaps" >&2
# awk with a fixed seed: the same file each time.
LC_ALL=C awk 'BEGIN {
  srand(7)
  split("Łódź Köln Porto Oslo Gent", towns, " "); split("car home study", reasons, " ")
  print "applied_on,town,reason,amount,income,employed,previous,repaid"
  for (i = 1; i <= 600; i++) {
    town = towns[int(rand() * 5) + 1]; reason = reasons[int(rand() * 3) + 1]
    amount = int(1000 + rand() * 29000); income = int(800 + rand() * 5200)
    employed = rand() < 0.7 ? "true" : "false"; previous = int(rand() * 5)
    day = sprintf("20%02d-%02d-%02d", 18 + int(rand() * 6), 1 + int(rand() * 12), 1 + int(rand() * 28))
    pull = income / 1500 - amount / 12000 + (employed == "true" ? 0.8 : -0.6)
    pull += (town == "Oslo" ? 0.7 : 0) - (reason == "car" ? 0.5 : 0) + rand() * 1.6 - 0.8
    if (rand() < 0.05) town = ""
    if (rand() < 0.10) income = ""
    if (rand() < 0.06) day = ""
    if (rand() < 0.04) employed = ""
    printf "%s,%s,%s,%s,%s,%s,%s,%s\n", day, town, reason, amount, income, employed, previous, \
      (pull > 0.9 ? "yes" : "no")
  }
}' >"$folder/loans.csv"
dataset=$(call POST '/v1/datasets?name=loans' -H 'Content-Type: text/csv' \
  --data-binary "@$folder/loans.csv" | jq -r .id)
echo "   $dataset" >&2

echo "2. Train: 20 trials" >&2
job=$(jq -n --arg data "$dataset" '{
    task: "binclass", name: "loans", dataset_id: $data,
    params: {target: "repaid", trials: 20}
  }' | call POST /v1/jobs -H 'Content-Type: application/json' \
  -H "Idempotency-Key: loans-$dataset" --data-binary @- | jq -r .id)
echo "   $job" >&2

echo "3. Follow its events to the end" >&2
last=0 state=queued
until [[ $state =~ ^(succeeded|failed|cancelled|interrupted)$ ]]; do
  # A cut stream is taken up again after the last event seen.
  while IFS= read -r line; do
    [[ $line == 'data: '* ]] || continue
    event=${line#data: }
    last=$(jq -r .seq <<<"$event")
    jq -r '"   \(.kind): \(.data | tojson)"' <<<"$event" >&2
  done < <(curl --noproxy '*' -sSN -H "@$secret" -H "Last-Event-ID: $last" \
    "$url/v1/jobs/$job/events" || true)
  state=$(call GET "/v1/jobs/$job" | jq -r .state)
  [[ $state =~ ^(queued|preparing|running|collecting|verifying)$ ]] && sleep 1
done
if [[ $state != succeeded ]]; then
  call GET "/v1/jobs/$job" | jq -r '"\(.state): \(.reason)"' >&2
  exit 3
fi

echo "4. Download the ONNX" >&2
model=$(call GET "/v1/jobs/$job" | jq -r .model_id)
curl --noproxy '*' -sSf -H "@$secret" -o "$folder/model.onnx" "$url/v1/models/$model/onnx"
digest=$(call GET "/v1/models/$model" | jq -r .digest)
[[ $digest == "sha256:$(sha256sum "$folder/model.onnx" | cut -d' ' -f1)" ]]
echo "   $folder/model.onnx $digest" >&2

echo "5. Predict: ordinary rows, unseen words, and nothing known at all" >&2
jq -n '{rows: [
  {applied_on: "2022-03-14", town: "Oslo", reason: "home", amount: 4000, income: 5100, employed: true, previous: 1},
  {applied_on: "2019-11-02", town: "Köln", reason: "car", amount: 28000, income: 900, employed: false, previous: 4},
  {applied_on: null, town: "Atlantis", reason: "yacht", amount: 12000, income: null, employed: null, previous: 0},
  {applied_on: null, town: null, reason: null, amount: null, income: null, employed: null, previous: null}
]}' >"$folder/rows.json"
call POST "/v1/models/$model/predict" -H 'Content-Type: application/json' \
  --data-binary "@$folder/rows.json" | tee "$folder/answer.json" | jq .
