// The program itself, and what it needs around it, each in a process of its own on a loopback port.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const adminKey = "ui-admin-key-0123456789", proxyKey = "ui-proxy-key-0123456789";

const need = (name) => process.env[name] ?? (() => { throw new Error(`${name} is not set: start these tests by tests/ui/run.sh`); })();
const base = (home) => ({ PATH: process.env.PATH, HOME: home, ADMIN_API_KEY: adminKey, DEFAULT_PROXY_API_KEY: proxyKey, UPSTREAM_ALLOW_PRIVATE: "true", HEALTH_CHECK_ENABLED: "true", LOG_LEVEL: "warn" });

const running = new Set();
process.on("exit", () => { for (const p of running) p.kill("SIGKILL"); });
for (const s of ["SIGINT", "SIGTERM"]) process.on(s, () => process.exit(130)); // or what was started would go on

// child starts a program and waits for the line that tells it is up.
const child = (program, args, env, from, up) => new Promise((resolve, reject) => {
  const p = spawn(program, args, { env, stdio: ["pipe", "pipe", "pipe"] });
  running.add(p);
  const ended = new Promise((done) => p.on("exit", (code) => { running.delete(p); done(code); }));
  let said = "";
  for (const s of ["stdout", "stderr"]) createInterface({ input: p[s] }).on("line", (line) => {
    said += line + "\n";
    const found = s === from && up(line);
    if (found) resolve({ found, said: () => said, stop: async (signal = "SIGTERM") => { p.stdin.end(); p.kill(signal); return ended; } });
  });
  ended.then((code) => reject(new Error(`${program} ended with ${code}:\n${said}`)));
});

// startLab starts the fakes, and the console behind the buffered Lambda adapter.
export async function startLab() {
  const home = mkdtempSync(join(tmpdir(), "ui-lab-"));
  const c = await child(need("LAB_BIN"), ["serve"], base(home), "stdout", (line) => line.startsWith("{") && JSON.parse(line));
  return { ...c.found, stop: async () => { await c.stop(); rmSync(home, { recursive: true }); } };
}

// startServer starts the program; lab is what startLab returned.
export async function startServer(lab, env = {}) {
  const home = mkdtempSync(join(tmpdir(), "ui-home-"));
  const all = { ...base(home), CAPTURE_URL: "file:" + join(home, "captured"), STORE_URL: "memory:", LISTEN_ADDR: "127.0.0.1:0", AMAZONQ_API_ENDPOINT: lab?.amazonq ?? "", AMAZONQ_TOKEN_ENDPOINT: lab ? lab.oidc + "/token" : "", ...env };
  const c = await child(need("SLUICE_BIN"), ["serve"], all, "stderr", (line) => /Admin page: (http:\S+)\/admin$/.exec(line)?.[1]);
  return { url: c.found, said: c.said, api: api(c.found), captures: true, stop: async (signal) => { const code = await c.stop(signal); rmSync(home, { recursive: true, force: true }); return code; } };
}

// api calls the admin API, as the administrator where no other key is named.
export const api = (url) => async (method, path, body, headers = { "x-admin-key": adminKey }) => {
  const r = await fetch(url + path, { method, redirect: "manual", headers: { "content-type": "application/json", ...headers }, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await r.text();
  const out = { status: r.status, headers: r.headers, text, json: undefined };
  try { out.json = JSON.parse(text); } catch { /* a page */ }
  return out;
};

// must is a call that succeeds.
export const must = async (call, ...args) => {
  const r = await call(...args);
  if (r.status >= 300) throw new Error(`${args[0]} ${args[1]}: ${r.status} ${r.text}`);
  return r.json;
};
