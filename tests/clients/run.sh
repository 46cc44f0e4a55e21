#!/bin/sh
# Installs the clients and drives them all against the gateway: first the server, then, with the tests named below, the
# Lambda functions over DynamoDB Local behind an API Gateway of our own, and over redis-server behind a function URL. A
# store that is missing is said and passed over, unless STORETEST_REQUIRE names it. Arguments go to "go test". Much of the
# time is spent waiting for retries, so more tests run at once than there are processors.
set -eu
cd "$(dirname "$0")"
./install.sh
go test -count=1 -parallel 4 "$@" ./...

# Text, streams, tools, images, errors and failover by each SDK; the programs with text and a tool.
some='^Test(GoSDK(Text|StreamEvents|Tools|Thinking|Errors|BrokenStreams|DeadNode|CountTokens|Files)|NodeSDK(Text|Tools|Errors|Models)'
some="$some"'|D32OpenAIGoText|D35OpenAIGoTools|D37OpenAIGoImage|D36OpenAIGoErrors|OpenAINode(Text|Tools)|AIText'
some="$some"'|CLI(Text|Tool|DeadNode|Discovery|CountTokens)|D38CodexText|D42CodexTool|Pool(GoSDKText|CLITools)|D27BedGoSDKText|BedCLITools|BedModeCLIText)$'
../stores/dynamodb.sh >/dev/null || echo "run.sh: no DynamoDB Local" >&2 # the tests say what follows from that
for host in rest url; do
	echo "CLIENTS_HOST=$host"
	CLIENTS_HOST=$host go test -count=1 -parallel 4 -run "$some" "$@"
done
