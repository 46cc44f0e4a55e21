// The audit log, client setup, the playground, the changelog and the first steps, as people use them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { audit, nothing, open, person } from "./lib/browser.mjs";
import { seed, tenantPassword } from "./lib/seed.mjs";
import { adminKey, must, proxyKey, startLab, startServer } from "./lib/server.mjs";

let lab, server, seeded, browser;
before(async () => {
  lab = await startLab();
  server = await startServer(lab);
  seeded = await seed(server, lab, { name: (what) => `<b>${what}</b>` });
  browser = await open();
});
after(async () => { await browser?.close(); seeded?.closed(); await server?.stop(); await lab?.stop(); });

const admin = { admin_key: adminKey }, tenant = { username: "<b>tenant</b>", password: tenantPassword };
const saved = async (page, button) => {
  const [d] = await Promise.all([page.waitForEvent("download"), button.click()]);
  return { name: d.suggestedFilename(), text: readFileSync(await d.path(), "utf8") };
};

test("the audit log: filters, differences, older entries, exports, verification", async () => {
  const p = await person(browser, server.url, { as: admin, acceptDownloads: true }), { page } = p;
  const id = seeded.accounts.tenant.nodes[0];
  await must(server.api, "PUT", `/admin/api/nodes?id=${id}`, { weight: 42, notes: "<script>document.title='x'</script>" });
  await page.goto(server.url + "/admin/audit");
  await page.fill("#f-action", "node.update");
  await page.fill("#f-object", "node/" + id);
  await page.keyboard.press("Enter");
  await page.waitForURL(/action=node.update/);
  const row = page.locator("main tbody tr").first();
  await row.locator("summary").click();
  assert.match(await row.locator(".diff").innerText(), /weight\s+1\s+42/);
  assert.match(await row.innerText(), /<b>tenant-claude<\/b>/);
  nothing(await audit(page));
  const csv = await saved(page, page.locator("a[href*='format=csv']"));
  assert.match(csv.name, /^sluice-audit-.*\.csv$/);
  assert.ok(csv.text.includes("node.update") && !csv.text.includes("key.create"), "the export is not what was looked for");
  await page.goto(server.url + "/admin/audit?actor=key");
  for (let i = 0; i < 60; i++) await must(server.api, "PUT", `/admin/api/nodes?id=${id}`, { weight: 1 + i });
  await page.reload();
  const first = await page.locator("main tbody tr").first().innerText();
  await page.locator("a[rel=next]").click();
  await page.waitForURL(/cursor=/);
  assert.notEqual(await page.locator("main tbody tr").first().innerText(), first);
  p.clean("the log");
  await page.locator("form[action*='do=verify'] button").click();
  await page.locator(".alert-success").waitFor();
  const head = await page.locator("#head").innerText();
  await page.fill("#v-head", "not a hash");
  await page.locator("form[action*='do=verify'] button").click();
  await page.locator(".invalid-feedback").waitFor();
  assert.equal(await page.inputValue("#v-head"), "not a hash");
  p.clean("a refused hash", /status of 400/);
  await page.fill("#v-head", head);
  await page.locator("form[action*='do=verify'] button").click();
  await page.locator(".alert-success").waitFor();
  await p.close();

  const own = await person(browser, server.url, { as: tenant });
  await own.page.goto(server.url + "/admin/audit");
  assert.equal(await own.page.locator("form[action*='do=verify'], [name=account_id]").count(), 0);
  const text = await own.page.locator("main").innerText();
  assert.ok(!text.includes("<b>other") && !text.includes("127.0.0.1") && text.includes("operator"), text);
  own.clean("a tenant");
  await own.close();
});

test("a file that is refused is said in the page, and one without a session leads to the login", async () => {
  const p = await person(browser, server.url, { as: admin, lang: "zh-CN" }), { page } = p;
  for (const path of ["/admin/usage", "/admin/audit"]) {
    await page.goto(server.url + path);
    const link = page.locator("main a[href*='format=csv']").first();
    await link.evaluate((a) => { a.href = a.href.replace("format=csv", "format=none"); });
    await page.locator("main a[href*='format=none']").click();
    await page.locator("main .alert-danger").waitFor();
    assert.equal(await page.locator("aside [aria-current=page]").getAttribute("href"), path, "the menu does not tell where one is");
    p.clean("a refused file", /status of 400/);
    nothing(await audit(page));
    await page.goto(server.url + path);
    const cookies = await p.context.cookies();
    await p.context.clearCookies({ name: "session_token" });
    await page.locator("main a[href*='format=csv']").first().click();
    await page.waitForURL((u) => u.pathname === "/login" && u.searchParams.get("next") === path);
    await p.context.addCookies(cookies);
  }
  p.clean("files");
  await p.close();
});

test("client setup: the key stays in the browser; files and texts hold what was asked for", async () => {
  const p = await person(browser, server.url, { as: tenant, acceptDownloads: true, permissions: ["clipboard-read", "clipboard-write"] }), { page } = p;
  const sent = [];
  page.on("request", (r) => sent.push(r.url() + (r.postData() ?? "")));
  await page.goto(server.url + "/admin/setup");
  await page.fill("#setup-key", "sk-my.key-1");
  await page.fill("#f-model", "gpt-5.4");
  await page.fill("#f-deny", "Read(./<x>)");
  await page.locator("#f-url").focus();
  await page.waitForFunction(() => document.getElementById("claude-file").textContent.includes("<x>"));
  const file = await saved(page, page.locator("[data-download=claude-file]"));
  assert.equal(file.name, "settings.json");
  assert.deepEqual(JSON.parse(file.text), { env: { ANTHROPIC_BASE_URL: server.url, ANTHROPIC_AUTH_TOKEN: "sk-my.key-1", ANTHROPIC_DEFAULT_HAIKU_MODEL: "claude-haiku-5-5" }, model: "gpt-5.4", permissions: { deny: ["Read(./<x>)"] } });
  await page.locator("[data-copy=openai-python]").click();
  await page.waitForFunction(() => document.querySelector("[data-copy=openai-python]").textContent === "Copied");
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.ok(copied.includes(`base_url="${server.url}/v1", api_key="sk-my.key-1"`) && copied.includes('model="gpt-5.4"'), copied);
  nothing(await audit(page));
  p.clean("setup");
  await page.fill("#f-model", `x"; rm -rf /`);
  await page.locator("#f-url").focus();
  await page.locator("#f-model.is-invalid").waitFor();
  assert.equal(await page.inputValue("#f-model"), `x"; rm -rf /`);
  assert.equal(await page.inputValue("#setup-key"), "sk-my.key-1");
  assert.equal(await page.locator("[data-text]").count(), 0);
  p.clean("a refused model", /status of 400/);
  await page.fill("#setup-key", 'a"$(b)');
  await page.locator("[data-key-bad]").waitFor();
  assert.ok(!sent.some((s) => s.includes("sk-my")), "the key was sent");
  await p.close();

  const plain = await person(browser, server.url, { as: tenant, acceptDownloads: true, javaScriptEnabled: false });
  await plain.page.goto(server.url + "/admin/setup");
  const got = await saved(plain.page, plain.page.locator("noscript button[value=codex-file]"));
  assert.equal(got.name, "config.toml");
  assert.ok(got.text.includes(`base_url = "${server.url}/v1"`), got.text);
  await plain.close();
});

for (const dialect of ["messages", "chat"]) for (const stream of [true, false]) {
  test(`playground: ${dialect}, ${stream ? "as it comes" : "at once"}`, async () => {
    const p = await person(browser, server.url, { as: tenant, width: 390 }), { page } = p;
    await page.goto(server.url + "/admin/playground");
    await page.fill("#play-key", seeded.accounts.tenant.key);
    await page.selectOption("#play-dialect", dialect);
    await page.fill("#play-model", "claude-sonnet-4-5");
    await page.fill("#play-prompt", "Hello <i>there</i>");
    await page.setChecked("#play-stream", stream);
    await page.locator("[data-play=send]").click();
    await page.waitForFunction(() => /^\$\d/.test(document.querySelector("[data-out=cost]").textContent));
    const out = (name) => page.locator(`[data-out=${name}]`).innerText();
    assert.ok((await out("text")).length > 0);
    assert.equal(await out("status"), "200");
    assert.equal(await out("node"), "<b>tenant-claude</b>");
    assert.match(await out("request"), /^req_/);
    assert.match(await out("first"), /^[\d.]+ m?s$/);
    assert.match(await out("output"), /^[\d,]+$/);
    assert.equal(await page.locator("#play-state").innerText(), "Complete.");
    nothing(await audit(page));
    p.clean("playground");
    await p.close();
  });
}

test("playground: wrong keys, other addresses, and no script", async () => {
  const p = await person(browser, server.url, { as: admin }), { page } = p;
  await page.goto(server.url + "/admin/playground");
  await page.fill("#play-key", "no-such-key");
  await page.fill("#play-prompt", "it's");
  await page.locator("[data-play=send]").click();
  await page.locator("#play-error:not([hidden])").waitFor();
  assert.match(await page.locator("#play-error").innerText(), /Unknown API key/);
  p.clean("a wrong key", /status of 401/);
  await page.fill("#play-key", proxyKey);
  await page.locator("main details summary").first().click();
  await page.fill("#play-url", "https://gate.example/v1");
  await page.locator("[data-play=send]").click();
  await page.locator("#play-instead:not([hidden])").waitFor();
  const curl = await page.locator("#play-instead").innerText();
  assert.ok(curl.includes("curl -N 'https://gate.example/v1/messages'") && curl.includes("$SLUICE_KEY") && curl.includes(`it'\\''s`) && !curl.includes(proxyKey), curl);
  nothing(await audit(page));
  p.clean("another address");
  await p.close();
  const plain = await person(browser, server.url, { as: admin, javaScriptEnabled: false });
  await plain.page.goto(server.url + "/admin/playground");
  assert.ok(await plain.page.locator("#play-key").isDisabled());
  await plain.close();
});

test("playground: stop", async () => {
  const p = await person(browser, server.url, { as: admin }), { page } = p;
  await page.goto(server.url + "/admin/playground");
  let release;
  const held = new Promise((done) => { release = done; });
  await page.route("**/v1/messages", async (route) => { await held; await route.abort().catch(() => {}); });
  await page.fill("#play-key", proxyKey);
  await page.fill("#play-prompt", "Hello");
  await page.locator("[data-play=send]").click();
  await page.locator("[data-play=stop]:enabled").click();
  await page.waitForFunction(() => document.getElementById("play-state").textContent === "Stopped.");
  assert.ok(await page.locator("[data-play=send]").isEnabled());
  release();
  p.clean("a stopped request");
  await p.close();
});

test("about and the changelog, as a page and as markdown", async () => {
  const p = await person(browser, server.url, { as: tenant, lang: "zh-CN" }), { page } = p;
  await page.goto(server.url + "/admin/about");
  assert.match(await page.locator("dl.facts").innerText(), /go1\./);
  await page.locator("main a[href$='/changelog']").click();
  await page.waitForURL("**/changelog");
  assert.ok(await page.locator("main li code").count() > 5);
  const md = await server.api("GET", "/changelog", undefined, {});
  assert.match(md.text, /^# Changelog/);
  assert.deepEqual(Object.keys((await server.api("GET", "/version", undefined, {})).json).sort(), ["build_date", "build_date_beijing", "git_commit", "go_version", "version"]);
  p.clean("about");
  await p.close();
});

test("first steps: each is told until it is made, and then they are gone", async () => {
  const fresh = await startServer(lab, { ADMIN_API_KEY: "", DEFAULT_PROXY_API_KEY: "" });
  const as = { "x-admin-key": "admin" }, call = (method, path, body) => must(fresh.api, method, path, body, as);
  const p = await person(browser, fresh.url, { as: { admin_key: "admin" } }), { page } = p;
  const steps = async () => { await page.goto(fresh.url + "/admin"); return page.locator(".steps-list .badge").allInnerTexts(); };
  assert.deepEqual(await steps(), ["To do", "To do", "To do", "To do"]);
  nothing(await audit(page));
  for (const href of await page.locator(".steps-list a").evaluateAll((as) => as.map((a) => a.href))) assert.equal((await page.goto(href)).status(), 200);
  await call("POST", "/admin/api/nodes", { base_url: lab.anthropic, api_key: "sk-ant-fake" });
  const made = await call("POST", "/admin/api/keys", { name: "mine" });
  assert.deepEqual(await steps(), ["To do", "Done", "Done", "To do"]);
  await page.goto(fresh.url + "/admin/playground");
  await page.fill("#play-key", made.key);
  await page.fill("#play-prompt", "Hello");
  await page.locator("[data-play=send]").click();
  await page.waitForFunction(() => /\$|price/.test(document.querySelector("[data-out=cost]").textContent));
  assert.deepEqual(await steps(), ["To do", "Done", "Done", "Done"]);
  const own = await call("POST", "/admin/api/keys", { name: "boss", scopes: ["inference", "nodes", "admin"] });
  for (const k of (await call("GET", "/admin/api/keys")).keys.filter((k) => k.default)) await must(fresh.api, "PUT", `/admin/api/keys?id=${k.id}`, { revoked: true }, { "x-admin-key": own.key });
  const again = await person(browser, fresh.url, { as: { admin_key: own.key } });
  await again.page.goto(fresh.url + "/admin");
  assert.equal(await again.page.locator(".steps-list").count(), 0);
  await again.close();
  p.clean("first steps");
  await p.close();
  await fresh.stop();
});
