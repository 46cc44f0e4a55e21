#!/usr/bin/env bash
# Checks that go.mod and go.sum are tidy. -e: a module that only the tests of a dependency need may be unreachable; then its
# lines in go.sum come and go with the module proxy, and say nothing of this module.
set -euo pipefail
diff=$(go mod tidy -e -diff 2>/dev/null || true)
needed=$(go list -deps -test -f '{{with .Module}}{{.Path}}{{end}}' ./... | sort -u)
bad=
while read -r line; do
  case $line in
  "+++ "* | "--- "* | "") ;;
  *" h1:"*) # of go.sum
    module=${line#?}
    grep -qxF "${module%% *}" <<<"$needed" && bad+=$line$'\n' ;;
  *) bad+=$line$'\n' ;;
  esac
done < <(grep -E '^[+-]' <<<"$diff" || true)
[ -z "$bad" ] || { printf '%s is not tidy; run go mod tidy -e:\n%s' "$PWD" "$bad"; exit 1; }
