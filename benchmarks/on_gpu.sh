#!/usr/bin/env bash
# The day a GPU is there: ten minutes, correctness first, then speed, then long schedules.
#
#   benchmarks/on_gpu.sh OMNIGLOT [OUT]      every part within its own time
#   benchmarks/on_gpu.sh --small OUT         the same on a CPU, in seconds: does it still run?
#
# Every part flushes what it has measured, and a part that is late or fails costs only itself.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" XLA_PYTHON_CLIENT_PREALLOCATE=false

part() { # SECONDS NAME COMMAND...
  local seconds=$1 name=$2 began=$SECONDS status
  shift 2
  timeout --signal=TERM --kill-after=20 "$seconds" "$@"
  status=$?
  echo "$name: status $status after $((SECONDS - began)) s of $seconds"
  [ "$status" -eq 0 ] || failed=1
}

failed=0
if [ "${1:-}" = --small ]; then
  out=${2:?the folder for results}
  part 300 agreement python -m benchmarks.agreement protonet --out "$out/agreement.json"
  part 300 schedules python -m benchmarks.table --small --runs "$out/runs" \
    --kept "$out/table" --minutes 4
  exit "$failed"
fi

data=${1:?the folder with the two zip files of Omniglot} out=${2:-benchmarks/results}
part 150 agreement python -m benchmarks.agreement --out "$out/agreement.json"
part 120 throughput python -m benchmarks.accelerator --rows 1-256 5-256 --seconds 4 \
  --only peaks --only rows --out "$out/accelerator.json"
part 320 schedules python -m benchmarks.table --full --data "$data" --runs "${TMPDIR:-/tmp}/table" \
  --kept "$out/table" --minutes 4.8
exit "$failed"
