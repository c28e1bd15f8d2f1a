#!/bin/bash
# The rest of `make test`, after the unit tests: crashes and a simulation without Docker; then what runs containers and a
# browser, several at a time since it mostly waits; last the coverage of all together. Results go to test-results/.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

MINIMUM_COVERAGE=90
# testcontainers' reaper is an image of its own; tests label what they make and remove it themselves.
export TESTCONTAINERS_RYUK_DISABLED=true

failed=0
summary="unit tests: passed"$'\n'
mkdir -p test-results

run() {
  local name=$1
  shift
  echo "==> $name tests"
  .venv/bin/python -m pytest --cov --cov-append --cov-report= --junitxml="test-results/$name.xml" "$@" 2>&1 |
    tee "test-results/$name.log" || failed=1
  summary+="$name tests: $(tail -n 1 "test-results/$name.log" | sed 's/^=* //; s/ =*$//')"$'\n'
}

# What needs no engine: a life of an instance, cut off at every side effect. Its coverage would only repeat the others'.
cut_off=(tests/faults/test_in_process.py tests/faults/test_verify.py)
run faults --numprocesses auto --no-cov "${cut_off[@]}"
# The loop in a simulated world, and loops with one mistake that it has to find.
run simulation --numprocesses auto --no-cov tests/simulation
# One file is one process's, so that its tests share an installation.
run system --numprocesses 4 --dist loadfile tests --ignore tests/unit --ignore tests/simulation \
  "${cut_off[@]/#/--ignore=}"
.venv/bin/coverage report --fail-under "$MINIMUM_COVERAGE" || failed=1
printf '\n%s' "$summary"
exit "$failed"
