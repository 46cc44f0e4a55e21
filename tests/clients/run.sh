#!/bin/sh
# Installs the clients and drives them all against the gateway. Arguments go to "go test".
set -eu
cd "$(dirname "$0")"
./install.sh
exec go test -count=1 "$@" ./...
