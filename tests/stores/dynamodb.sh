#!/usr/bin/env bash
# Fetches Amazon's DynamoDB Local once and prints its folder. It comes inside an npm package, and its licence forbids
# keeping it in a repository: it lies in $SLUICE_TEST_CACHE (default ~/.cache/sluice-tests). Needs npm; to run it, Java 17.
set -euo pipefail

version=2.9.30
sum=3503ffac19f183407909fecdacf4db51ab1fdad1da7b2f177016670b2d80e4b9
cache=${SLUICE_TEST_CACHE:-$HOME/.cache/sluice-tests}
dir=$cache/dynamodb-local-$version

if [ ! -f "$dir/DynamoDBLocal.jar" ]; then
	mkdir -p "$cache"
	tmp=$(mktemp -d "$cache/tmp.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	(cd "$tmp" && npm pack --silent "amplify-dynamodb-simulator@$version" >/dev/null)
	echo "$sum  $tmp/amplify-dynamodb-simulator-$version.tgz" | sha256sum --check --quiet >&2
	tar -xzf "$tmp/amplify-dynamodb-simulator-$version.tgz" -C "$tmp" package/emulator
	rm -rf "$dir"
	mv "$tmp/package/emulator" "$dir" # in one step: a half-copied folder is never found
fi
echo "$dir"
