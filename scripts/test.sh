#!/bin/bash
# The rest of `make test`, after the unit tests: faults and a simulation; what needs no engine; what runs containers, several
# at a time since it mostly waits; last the coverage of all together. Results go to test-results/.
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

# A life of an instance cut off at every side effect, and the loop in a simulated world, with loops that hold one mistake.
# Their coverage would only repeat the others'.
cut_off=(tests/faults/test_in_process.py tests/faults/test_verify.py tests/simulation)
run faults --numprocesses auto --no-cov "${cut_off[@]}"

# One file is one process's, so that its tests share what they need. What has a browser does not run beside containers:
# each that comes or goes is a change of the network, which ends what a page is loading.
rest=(tests/faults tests/e2e tests/integration "${cut_off[@]/#/--ignore=}" --dist loadfile --no-loadscope-reorder)
run local --numprocesses auto -m "not docker" "${rest[@]}"
run docker --numprocesses 4 -m docker "${rest[@]}"
.venv/bin/coverage report --fail-under "$MINIMUM_COVERAGE" || failed=1
printf '\n%s' "$summary"
exit "$failed"
