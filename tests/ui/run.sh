#!/bin/sh
# Builds the program and what is needed around it, installs the pinned npm packages and runs a script of this folder in the
# real browser: run.sh test [FILE...], run.sh shots DIR, run.sh bench [OPTIONS]. Without node, npm or chromium it says so
# and does nothing; with UI_REQUIRE=1 it fails.
set -eu
cd "$(dirname "$0")"
CHROMIUM="${CHROMIUM:-/usr/bin/chromium}"
export CHROMIUM

for tool in node npm go "$CHROMIUM"; do
	command -v "$tool" >/dev/null && continue
	echo "=== NOT TESTED: the console in a real browser: there is no $tool ===" >&2
	[ "${UI_REQUIRE:-}" != 1 ] || exit 1
	exit 0
done

stamp=node_modules/.installed
want="$(cksum <package-lock.json)"
if [ ! -r "$stamp" ] || [ "$(cat "$stamp")" != "$want" ]; then
	npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --loglevel=error
	printf '%s' "$want" >"$stamp"
fi

bin="$(mktemp -d)"
trap 'rm -rf "$bin"' EXIT
CGO_ENABLED=0 go build -trimpath -o "$bin/" ./lab # compiled as "make build" does, so that both share what is
CGO_ENABLED=0 go build -trimpath -o "$bin/sluice" ../../local
SLUICE_BIN="$bin/sluice" LAB_BIN="$bin/lab"
export SLUICE_BIN LAB_BIN

word="${1:-test}"
[ $# -eq 0 ] || shift
case "$word" in
test)
	[ $# -gt 0 ] || set -- *.test.mjs
	cores="$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)"
	[ "$cores" -gt 2 ] || cores=2
	node --test --test-force-exit --test-reporter=spec --test-concurrency="$cores" "$@"
	;;
shots) node shots.mjs "$@" ;;
bench) node bench.mjs "$@" ;;
*) echo "run.sh: no $word" >&2; exit 1 ;;
esac
