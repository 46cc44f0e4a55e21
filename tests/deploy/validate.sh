#!/bin/sh
# Checks template.yaml with AWS's own validator from npm. Without npm it says so and is no failure, unless
# NEED_VALIDATE is set, as CI does.
set -eu
cd "$(dirname "$0")/node"
for tool in node npm; do
	command -v "$tool" >/dev/null && continue
	echo "SKIPPED: template.yaml was not validated: $tool is not on PATH" >&2
	[ -z "${NEED_VALIDATE:-}" ] || exit 1
	exit 0
done
stamp=node_modules/.installed
want="$(cksum <package-lock.json)"
if [ ! -r "$stamp" ] || [ "$(cat "$stamp")" != "$want" ]; then
	npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --loglevel=error
	printf '%s' "$want" >"$stamp"
fi
exec node validate.mjs ../../../template.yaml
