#!/bin/sh
# Installs the pinned npm clients of this folder. Does nothing when they are already there; fails when they cannot be had.
set -eu
cd "$(dirname "$0")"

for tool in node npm; do
	command -v "$tool" >/dev/null || { echo "install.sh: $tool is not on PATH" >&2; exit 1; }
done

pinned() { node -p "require('./package.json').dependencies['$1']"; }
cli=node_modules/@anthropic-ai/claude-code/bin/claude.exe # the CLI's name on every system
stamp=node_modules/.installed
want="$(cksum <package-lock.json) $(node -p 'process.platform + process.arch')"

if [ -x "$cli" ] && [ -r "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
	exit 0
fi

# Install scripts may be switched off or gated by npm, so none is relied on: the CLI's only one, which puts the native
# binary of this platform in its place, is run by hand.
npm ci --ignore-scripts --include=optional --prefer-offline --no-audit --no-fund --loglevel=error
node node_modules/@anthropic-ai/claude-code/install.cjs

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
got="$(env -i HOME="$scratch" PATH=/usr/bin:/bin DISABLE_AUTOUPDATER=1 "$cli" --version)" || {
	echo "install.sh: $cli does not run" >&2
	exit 1
}
case "$got" in
"$(pinned @anthropic-ai/claude-code) "*) ;;
*)
	echo "install.sh: wanted claude-code $(pinned @anthropic-ai/claude-code), got: $got" >&2
	exit 1
	;;
esac
printf '%s' "$want" >"$stamp"
