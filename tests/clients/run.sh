#!/bin/sh
# Installs the clients and drives them all against the gateway. Arguments go to "go test". Much of the time is spent
# waiting for retries, so more tests run at once than there are processors.
set -eu
cd "$(dirname "$0")"
./install.sh
exec go test -count=1 -parallel 4 "$@" ./...
