#!/bin/sh
# Installs the pinned npm clients of this folder. Does nothing when they are already there; fails when they cannot be had.
set -eu
cd "$(dirname "$0")"

for tool in node npm; do
	command -v "$tool" >/dev/null || { echo "install.sh: $tool is not on PATH" >&2; exit 1; }
done

pinned() { node -p "require('./package.json').dependencies['$1']"; }
claude=node_modules/@anthropic-ai/claude-code/bin/claude.exe # the CLI's name on every system
codex=node_modules/@openai/codex/bin/codex.js
stamp=node_modules/.installed
want="$(cksum <package-lock.json) $(node -p 'process.platform + process.arch')"

if [ -x "$claude" ] && [ -r "$codex" ] && [ -r "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
	exit 0
fi

# Install scripts may be switched off or gated by npm, so none is relied on: the only one, Claude Code's, which puts the
# native binary of this platform in its place, is run by hand.
npm ci --ignore-scripts --include=optional --prefer-offline --no-audit --no-fund --loglevel=error
node node_modules/@anthropic-ai/claude-code/install.cjs

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
# check PACKAGE OUTPUT COMMAND...: the command runs and prints the pinned version, with OUTPUT around it.
check() {
	version="$(printf "$2" "$(pinned "$1")")"
	name="$1"
	shift 2
	got="$(env -i HOME="$scratch" PATH=/usr/bin:/bin DISABLE_AUTOUPDATER=1 "$@" --version 2>"$scratch/errors")" || {
		echo "install.sh: $name does not run: $(cat "$scratch/errors")" >&2
		exit 1
	}
	[ "$got" = "$version" ] || { echo "install.sh: wanted $version, got $got" >&2; exit 1; }
}
check @anthropic-ai/claude-code '%s (Claude Code)' "$claude"
check @openai/codex 'codex-cli %s' "$(command -v node)" "$codex"
printf '%s' "$want" >"$stamp"
