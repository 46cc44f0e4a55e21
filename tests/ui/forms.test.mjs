// Every form that a page has and flows.test.mjs has not, in both languages, wide and narrow, by whoever may: nodes, Amazon Q
// accounts, keys, usage, prices, notifications, what is done to many at once; and the reader's zone and the first page's bytes.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { menu, open, person } from "./lib/browser.mjs";
import { aLogin, bulkDelete, chinese, clock, complaint, destroy, fill, fits, form, inZone, press, row, saved, say, submit, table, tickAll, told, weigh } from "./lib/forms.mjs";
import { seed, tenantPassword } from "./lib/seed.mjs";
import { adminKey, api, must, startLab, startServer } from "./lib/server.mjs";

const secret = "what the flow asked in confidence"; // what is asked never shows in usage
const logins = { administrator: { admin_key: adminKey }, tenant: { username: "tenant", password: tenantPassword } };
const zones = { "en-US": "America/New_York", "zh-CN": "Asia/Shanghai" };

let lab, server, seeded, lambda, browser;
const people = new Map();
before(async () => {
  lab = await startLab();
  server = await startServer(lab);
  seeded = await seed(server, lab);
  lambda = { url: lab.lambda, api: api(lab.lambda) };
  lambda.seeded = await seed(lambda, lab);
  for (const s of [server, lambda]) await used(s, s.seeded ?? seeded);
  browser = await open();
});
after(async () => { await browser?.close(); seeded?.closed(); lambda?.seeded?.closed(); await server?.stop(); await lab?.stop(); });

// used sends the requests that usage is looked at for: by a key of its own to a node of its own, and one that two nodes were tried for.
async function used(s, { accounts }) {
  await must(s.api, "POST", "/api/pricing", { model_id: "flow-a", input_price_mtok: 300, output_price_mtok: 900 });
  await must(s.api, "POST", "/api/pricing", { model_id: "flow-b", input_price_mtok: 100, output_price_mtok: 500 });
  for (const who of ["default", "tenant"]) {
    const a = accounts[who], of = "?account_id=" + a.id;
    const broken = (await must(s.api, "GET", "/admin/api/nodes" + of)).nodes.find((n) => n.name === `${who}-broken`).base_url;
    a.flowNode = (await must(s.api, "POST", "/admin/api/nodes" + of, { name: "flow-node", base_url: lab.anthropic, api_key: "sk-ant-fake", models: ["flow-*"], weight: 5 })).id;
    await must(s.api, "POST", "/admin/api/nodes" + of, { name: "flow-broken", base_url: broken, api_key: "sk-ant-fake", models: ["flow-c"], weight: 4 });
    const key = await must(s.api, "POST", "/admin/api/keys" + of, { name: "flow-usage" });
    a.flowKey = key.id;
    const send = async (k, model, session) => assert.equal((await fetch(s.url + "/v1/messages", { method: "POST", headers: { "x-api-key": k, "content-type": "application/json", "anthropic-version": "2023-06-01", ...(session && { "x-session-id": session }) },
      body: JSON.stringify({ model, max_tokens: 64, messages: [{ role: "user", content: secret }] }) })).status, 200);
    for (let i = 0; i < 3; i++) await send(a.key, "flow-a", "flow-session");
    for (let i = 0; i < 2; i++) await send(key.key, "flow-b");
    await send(a.key, "flow-c");
  }
}

// at is a person at a window of that width. Each is signed in once.
async function at(site, role, lang, width) {
  const key = [site.url, role, lang].join();
  if (!people.has(key)) people.set(key, await person(browser, site.url, { as: logins[role], lang, timezoneId: zones[lang], acceptDownloads: true }));
  const p = people.get(key);
  p.faults.splice(0);
  await p.page.setViewportSize({ width, height: 900 });
  return Object.assign(p, { site, role, lang, width, tag: `${lang}-${width}-${role}`.toLowerCase(), account: (site.seeded ?? seeded).accounts[role === "tenant" ? "tenant" : "default"], to: (path) => p.page.goto(site.url + path) });
}
const list = async (p, path, of) => (await must(p.site.api, "GET", `${path}?account_id=${p.account.id}`))[of];

// a node: its page with the last day, first choice or by weight, off and on
async function nodes(p) {
  const { page, lang, account } = p, name = `${p.role === "tenant" ? "tenant" : "default"}-claude`;
  const node = async () => (await list(p, "/admin/api/nodes", "nodes")).find((n) => n.name === name);
  await p.to("/admin/nodes");
  await press(form(row(page, name), "check", "").locator("button"));
  await page.locator("main .alert-success", { hasText: name }).waitFor();
  for (const [act, back, is] of [["activate", "deactivate", (n) => n.active], ["disable", "enable", (n) => n.disabled]]) for (const [one, other, now] of [[act, back, true], [back, act, false]]) {
    await press(form(row(page, name), one, "").locator("button"));
    await told(page, lang, "nodes." + one, name);
    assert.equal(is(await node()), now, `${one} did nothing`);
    await form(row(page, name), other, "").first().waitFor();
    assert.equal((await row(page, name).innerText()).includes(say(lang, "nodes.active")), act === "activate" && now, "who is used first is not said");
    if (act === "disable") assert.equal((await row(page, name).innerText()).includes(say(lang, "state.disabled")), now, "what is off is not said");
  }
  await fits(page, "nodes");
  await press(row(page, name).locator(`a[href*="/admin/nodes/${account.nodes[0]}"]`));
  await page.waitForURL("**/admin/nodes/" + account.nodes[0] + "**");
  const line = page.locator("svg.timeline[role=img]").first();
  await line.waitFor();
  assert.equal(await line.locator("rect").count(), 96, "a bar a quarter of an hour");
  const bars = await line.locator("rect:not(.none)").evaluateAll((rs) => rs.map((r) => `${r.getAttribute("class")}: ${r.textContent}`));
  assert.ok(bars.some((b) => /^(ok|mixed)/.test(b)), `the check is not on the timeline: ${bars}`); // mixed: that it was off is there, too
  const told24 = (await page.locator("#timeline-text").innerText()) + (await line.locator("rect.ok title, rect.mixed title").first().textContent());
  assert.equal(chinese.test(told24), lang === "zh-CN", told24);
  const [from, to] = await page.locator(".row-line:has(> span > time) time").evaluateAll((ts) => ts.map((t) => Date.parse(t.dateTime)));
  assert.equal(to - from, 86_400_000, "the timeline is not of a day");
  await fits(page, "a node");
  await press(form(page, "disable").locator("button"));
  await told(page, lang, "nodes.disable", name);
  await press(form(page, "enable").locator("button"));
  await told(page, lang, "nodes.enable", name);
  assert.equal((await node()).disabled, false);
  p.clean("nodes");
}

// Amazon Q accounts from a text and from a file: nothing is made before the preview was seen; then quota, refresh, and the end
async function pool(p) {
  const { page, lang, tag } = p;
  const mine = async () => (await list(p, "/admin/api/nodes", "nodes")).filter((n) => n.name.includes(tag)).map((n) => n.name).sort();
  const one = await aLogin(lab), two = await aLogin(lab);
  const line = (name, l) => `${name}|${l.clientId}|${l.clientSecret}|${l.refreshToken}`;
  await p.to("/admin/accounts?add=import");
  await submit(form(page, "preview"));
  await complaint(page, lang);
  p.clean("an empty import", /status of 400/);
  await fill(page, { text: `${line("pasted-" + tag, one)}\n${line("again", one)}\nnonsense\n` });
  await submit(form(page, "preview"));
  await page.locator("main [role=status]", { hasText: say(lang, "pool.import.would", 1, 2) }).waitFor();
  assert.ok((await page.locator("main").innerText()).includes("pasted-" + tag) && !(await page.content()).includes(`>${one.refreshToken}<`), "the preview");
  await fits(page, "a preview");
  assert.deepEqual(await mine(), [], "a preview made something");
  await submit(form(page, "import"));
  await page.locator("main [role=status]", { hasText: say(lang, "pool.import.was", 1, 2) }).waitFor();

  await p.to("/admin/accounts?add=import");
  await page.locator("#f-file").setInputFiles({ name: "accounts.json", mimeType: "application/json", buffer: Buffer.from(JSON.stringify([{ ...one }, { label: "uploaded-" + tag, ...two }])) });
  await submit(form(page, "preview"));
  await page.locator("main [role=status]", { hasText: say(lang, "pool.import.would", 1, 1) }).waitFor();
  await submit(form(page, "import"));
  await page.locator("main [role=status]", { hasText: say(lang, "pool.import.was", 1, 1) }).waitFor();
  assert.deepEqual(await mine(), ["pasted-" + tag, "uploaded-" + tag]);

  const name = "uploaded-" + tag;
  // what arrives in the rows moves what is below them, and a press that began before goes nowhere: so all of it is waited for
  const bars = async () => { for (const one of await row(page, tag).all()) { await one.locator("td.quota").scrollIntoViewIfNeeded(); await one.locator("progress").waitFor(); } };
  await p.to("/admin/accounts?q=" + tag);
  await bars();
  const bar = row(page, name).locator("progress");
  assert.match(await bar.getAttribute("aria-label"), /12\.5.*1,?000/, "the quota of the fake is 12.5 of 1000");
  assert.equal(await bar.getAttribute("value"), "0.013");
  await press(form(row(page, name), "refresh", "").locator("button"));
  await told(page, lang, "pool.refreshed", name);
  await bars();
  await press(row(page, name).locator(`a[href*="/admin/accounts/"]`).first());
  await page.waitForURL(/\/admin\/accounts\/\d+/);
  await page.locator("#quota progress").waitFor();
  await page.locator("#quota time").first().waitFor();
  assert.ok((await page.locator("main").innerText()).includes(say(lang, "pool.token.valid")), "no token after a refresh");
  assert.ok(!(await page.content()).includes(two.clientSecret), "the page shows a secret");
  await fits(page, "an account");
  await p.to("/admin/accounts?q=" + tag);
  await bars();
  await tickAll(page, ["pasted-" + tag, name]);
  await bulkDelete(page, lang);
  await told(page, lang, "pool.bulk.delete", 2);
  assert.deepEqual(await mine(), []);
  p.clean("a pool", /status of 400/);
}

// a key with everything that it may be held to; its end is typed and shown as the reader's clock has it
async function keys(p) {
  const { page, lang, tag, account, site } = p, typed = "2027-01-02T03:04", ends = { "zh-CN": "2027-01-01T19:04:00Z", "en-US": "2027-01-02T08:04:00Z" }[lang];
  const key = async () => (await must(site.api, "GET", "/admin/api/keys?q=" + tag)).keys[0];
  await p.to("/admin/keys");
  await fill(page, { name: `key-${tag}`, description: "of the flow", account_id: account.id, requests_per_minute: "60", requests_per_day: "1000", tokens_per_minute: "5000", concurrency: "3", usd_per_day: "2.5", usd_per_month: "40", models: "claude-sonnet-4-5\nflow-*", networks: "127.0.0.0/8 not-a-network", expires_at: typed });
  await submit(form(page, "create"));
  await complaint(page, lang);
  assert.equal(await page.inputValue("#f-expires_at"), typed, "the form lost its input");
  await fill(page, { networks: "127.0.0.0/8, ::1/128" });
  await submit(form(page, "create"));
  const value = await page.locator("#once").innerText(), made = await key();
  const limits = Object.fromEntries(["requests_per_minute", "requests_per_day", "tokens_per_minute", "concurrency", "usd_per_day", "usd_per_month"].map((n) => [n, made[n] ?? made.limits?.[n]]));
  assert.deepEqual(limits, { requests_per_minute: 60, requests_per_day: 1000, tokens_per_minute: 5000, concurrency: 3, usd_per_day: 2.5, usd_per_month: 40 });
  assert.deepEqual([made.models, made.networks], [["claude-sonnet-4-5", "flow-*"], ["127.0.0.0/8", "::1/128"]]);
  assert.equal(Date.parse(made.expires_at), Date.parse(ends), `${typed} in ${zones[lang]} became ${made.expires_at}`);
  const ask = async (model) => (await fetch(site.url + "/v1/messages", { method: "POST", headers: { "x-api-key": value, "content-type": "application/json", "anthropic-version": "2023-06-01" }, body: JSON.stringify({ model, max_tokens: 8, messages: [{ role: "user", content: "Hello" }] }) })).status;
  assert.equal(await ask("claude-sonnet-4-5"), 200);
  assert.ok(await ask("claude-haiku-4-5") >= 400, "a model that the key may not");

  await p.to("/admin/keys?q=" + tag);
  const text = await row(page, `key-${tag}`).innerText();
  for (const words of [say(lang, "limits.rpm", "60"), say(lang, "limits.concurrency", "3"), say(lang, "limits.day", "$2.50")]) assert.ok(text.includes(words), `${words} is not in ${text}`);
  await inZone(page, await row(page, `key-${tag}`).locator(`time[datetime="${ends}"]`).innerText(), ends, zones[lang]);
  await fits(page, "keys");
  await press(row(page, `key-${tag}`).locator('a[href*="edit="]'));
  await page.locator("#f-description").waitFor();
  assert.equal(await page.inputValue("#f-expires_at"), typed, "the end is shown in another zone than it was typed in");
  assert.equal(await page.inputValue("#f-usd_per_day"), "2.5");
  await fill(page, { usd_per_day: "7", models: "", requests_per_minute: "", expires_at: "2027-05-06T07:08" });
  await submit(form(page, "update"));
  await told(page, lang, "keys.saved", `key-${tag}`);
  const now = await key();
  assert.deepEqual([now.usd_per_day ?? now.limits.usd_per_day, now.requests_per_minute ?? now.limits.requests_per_minute, now.models ?? []], [7, 0, []]);
  assert.equal(Date.parse(now.expires_at), Date.parse({ "zh-CN": "2027-05-05T23:08:00Z", "en-US": "2027-05-06T11:08:00Z" }[lang]), "summer time");
  assert.equal(await ask("claude-haiku-4-5"), 200);
  await p.to("/admin/keys?q=" + tag);
  await destroy(page, lang, `key-${tag}`);
  await told(page, lang, "keys.deleted", `key-${tag}`);
  p.clean("a key", /status of 400/);
}

// usage: what a filter leaves, the chart, a request's details, and files that say the same as the page
async function usage(p) {
  const { page, lang, account, role } = p;
  const sums = async () => page.locator("#sums tbody tr").evaluateAll((rs) => Object.fromEntries(rs.map((r) => [r.cells[0].innerText.trim(), { requests: +r.cells[1].innerText.replaceAll(",", ""), cost: +/\$([\d.]+)/.exec(r.innerText)?.[1] }])));
  const figure = (key) => page.locator("main .card:has(> .card-body > .subheader)", { hasText: say(lang, key) }).first().locator(".h1").innerText();
  const none = { model_id: "", key_id: "", session_id: "", node_id: "" };
  const look = async (filter) => {
    await fill(page, { span: "24h", ...(role === "administrator" && { account_id: account.id }), ...none, ...filter });
    await submit(page.locator("main form[method=get]:has(#f-span)"));
    await page.waitForURL((u) => Object.entries(filter).every(([k, v]) => u.searchParams.get(k) === v));
    for (const [k, v] of Object.entries({ ...none, ...filter })) assert.equal(await page.inputValue("#f-" + k), v, "the filter is forgotten");
    return sums();
  };
  await p.to("/admin/usage");
  assert.deepEqual(Object.keys(await look({ model_id: "flow-a" })), ["flow-a"]);
  assert.deepEqual(Object.entries(await look({ key_id: account.flowKey })).map(([k, v]) => [k, v.requests]), [["flow-b", 2]]);
  assert.deepEqual(Object.entries(await look({ session_id: "flow-session" })).map(([k, v]) => [k, v.requests]), [["flow-a", 3]]);
  const shown = await look({ node_id: account.flowNode });
  assert.deepEqual(Object.entries(shown).map(([k, v]) => [k, v.requests]).sort(), [["flow-a", 3], ["flow-b", 2], ["flow-c", 1]]);
  assert.equal(await figure("overview.requests"), "6");
  const cost = +(await figure("overview.cost")).slice(1);
  assert.ok(cost > 0, "no cost");
  await fits(page, "usage");
  await exports(p, { requests: 6, cost, input: await figure("overview.input") });
  await details(p);

  await fill(page, { span: "7d" });
  await submit(page.locator("main form[method=get]:has(#f-span)"));
  await page.waitForURL(/span=7d/);
  const daily = page.locator("[data-chart][data-per=day]").first();
  await daily.locator("canvas").waitFor();
  const [times, counts] = JSON.parse(await daily.getAttribute("data-chart"));
  assert.equal(times.length, 7, "a bar a day");
  assert.equal(counts.reduce((a, b) => a + b), 6);
  for (const t of times) assert.match((await clock(page, new Date(t * 1000).toISOString(), zones[lang])).time, /^(0|00|12|24):00$/, "a day does not begin at midnight");
  await press(page.locator("#sums nav a[href*='tab=day']"));
  await page.waitForURL(/tab=day/);
  assert.equal(Object.values(await sums()).reduce((a, d) => a + d.requests, 0), 6);
  p.clean("usage");
}

// exports are files of what the page shows: the sums of all of them are its figures
async function exports({ page }, { requests, cost, input }) {
  const close = (a, b, why) => assert.ok(Math.abs(a - b) <= (b < 0.001 ? 5e-7 : b < 1 ? 5e-5 : 5e-3), `${why}: ${a} in the file, ${b} on the page`);
  const total = (rows, name) => rows.reduce((a, r) => a + (name ? Number(r[name] ?? 0) : 1), 0);
  for (const [what, format] of [["summary", "csv"], ["summary", "json"], ["logs", "csv"], ["logs", "json"]]) {
    const file = await saved(page, page.locator(`main a[href*="what=${what}"][href*="format=${format}"]:not([href*="format=jsonl"]), main a[href*="what=${what}"][href$="format=${format}"]`).first());
    assert.match(file.name, new RegExp(`^sluice-usage-${what}-\\w+\\.${format}$`));
    const rows = format === "csv" ? table(file.text) : JSON.parse(file.text), sums = what === "summary";
    assert.equal(total(rows, sums ? "total_requests" : undefined), requests, `${what} as ${format}`);
    assert.equal(total(rows, sums ? "total_input_tokens" : "input_tokens"), Number(input), `${what} as ${format}`);
    close(total(rows, sums ? "total_cost_usd" : "cost_usd"), cost, `${what} as ${format}`);
    assert.ok(!file.text.includes(secret), "an export tells what was asked");
  }
}

// details are all of a request but what was asked and answered
async function details({ page, lang, role }) {
  const at = page.locator("#log tbody tr", { hasText: "flow-c" }).first();
  await press(at.locator("[data-open]"));
  const drawer = page.locator("dialog[open]");
  await drawer.waitFor();
  const text = await drawer.innerText();
  for (const words of ["usage.attempts", "usage.tokens", "usage.tries", "usage.class.output", "usage.answered"]) assert.ok(text.includes(say(lang, words)), `${words} is not in the details: ${text}`);
  const tries = await drawer.locator("table:has(thead) tbody tr").allInnerTexts();
  assert.ok(tries.length >= 2 && /flow-broken/.test(tries[0]) && /flow-node/.test(tries.at(-1)), `the attempts: ${tries}`);
  assert.match(await drawer.locator("tr.quota-bar").first().innerText(), /\d/);
  assert.equal(/127\.0\.0\.1/.test(text), true, "the client's address");
  assert.equal(await drawer.locator(`a[href*="/admin/usage/"]`).count() > 0, role === "administrator" && await page.locator("a[href*='/admin/usage/']").count() > 0, "captured bodies are for administrators");
  for (const words of [secret, "Hello there"]) assert.ok(!(await page.content()).includes(words), "usage shows what was asked or answered");
  await fits(page, "the details of a request");
  await drawer.locator("[data-close]").first().click();
  await drawer.waitFor({ state: "detached" });
}

// a price of one's own for one account, changed, and ended
async function prices(p) {
  const { page, lang, tag, account } = p, model = `price-${tag}`;
  const price = async () => (await must(p.site.api, "GET", "/api/pricing?account_id=" + account.id)).pricing.find((x) => x.model_id === model);
  await p.to("/admin/pricing?q=price-");
  await fill(page, { model_id: model, model_name: "Flow", account_id: account.id, kind: "anthropic", input_price_mtok: "three" });
  await submit(form(page, "set"));
  await complaint(page, lang);
  assert.equal(await page.inputValue("#f-model_id"), model, "the form lost its input");
  await fill(page, { input_price_mtok: "3", output_price_mtok: "15.5" });
  await submit(form(page, "set"));
  await told(page, lang, "pricing.set", model);
  assert.deepEqual([(await price()).input_price_mtok, (await price()).output_price_mtok], [3, 15.5]);
  await p.to(`/admin/pricing?q=${model}&account_id=${account.id}`);
  const text = await row(page, model).innerText();
  assert.ok(text.includes("15.5") && text.includes(say(lang, "pricing.source.account")), text);
  await fits(page, "prices");
  await press(row(page, model).locator('a[href*="edit="]'));
  await page.locator("#f-model_id").waitFor();
  assert.equal(await page.inputValue("#f-output_price_mtok"), "15.5");
  await fill(page, { output_price_mtok: "16" });
  await submit(form(page, "set"));
  await told(page, lang, "pricing.set", model);
  assert.equal((await price()).output_price_mtok, 16);
  await p.to(`/admin/pricing?q=${model}&account_id=${account.id}`);
  await destroy(page, lang, model);
  await told(page, lang, "pricing.ended", model);
  assert.equal(await price(), undefined);
  p.clean("prices", /status of 400/);
}

// a channel keeps what its form does not say; a rule is made, changed and deleted
async function notifications(p) {
  const { page, lang, tag } = p, channel = `channel-${tag}`, rule = `rule-${tag}`;
  const rules = async () => (await list(p, "/api/alerts/rules", "rules")).filter((r) => r.name.includes(tag));
  await p.to("/admin/notifications?new=webhook");
  await fill(page, { name: channel, url: lab.hook + "/hook", secret: "of-the-channel" });
  await submit(form(page, "create"));
  await told(page, lang, "notify.made", channel);
  await press(row(page, channel).locator('a[href*="edit="]'));
  await page.locator("main form[action*='do=update']").waitFor();
  assert.ok(!(await page.content()).includes("of-the-channel"), "the page shows the channel's secret");
  await fill(page, { name: "renamed-" + channel });
  await submit(form(page, "update"));
  await told(page, lang, "notify.saved", "renamed-" + channel);
  await press(form(row(page, "renamed-" + channel), "test", "").locator("button"));
  await told(page, lang, "notify.tested", "renamed-" + channel); // it still knows where to
  await fits(page, "channels");
  await destroy(page, lang, "renamed-" + channel);
  await told(page, lang, "notify.deleted", "renamed-" + channel);

  await p.to("/admin/notifications?tab=rules&new=error_rate");
  await fill(page, { name: rule, threshold: "five", window_minutes: "10", min_requests: "3" });
  await submit(form(page, "rule-create"));
  await complaint(page, lang);
  assert.equal(await page.inputValue("#f-threshold"), "five", "the form lost its input");
  await fill(page, { threshold: "5" });
  await submit(form(page, "rule-create"));
  await told(page, lang, "alerts.made", rule);
  assert.equal((await rules())[0].threshold, 5);
  await press(row(page, rule).locator('a[href*="edit="]'));
  await page.locator("main form[action*='do=rule-update']").waitFor();
  await fill(page, { threshold: "7.5", min_requests: "4" });
  await submit(form(page, "rule-update"));
  await told(page, lang, "alerts.saved", rule);
  assert.deepEqual((await rules()).map((r) => [r.threshold, r.window_minutes, r.min_requests]), [[7.5, 10, 4]]);
  await fits(page, "rules");
  await destroy(page, lang, rule);
  await told(page, lang, "alerts.deleted", rule);
  assert.deepEqual(await rules(), []);
  p.clean("notifications", /status of 400/);
}

// many makes two of a kind and does to both at once what can be done; what cannot be undone needs a word typed first.
async function many(p, { what, make, body, page, left, switches = {}, done }) {
  const { lang, tag } = p, names = [1, 2].map((n) => `${what}-${tag}-${n}`), press2 = (value) => press(p.page.locator(`button[form=bulk][value=${value}]`));
  const mine = async () => (await left()).filter((x) => names.includes(x.name));
  for (const name of names) await must(p.site.api, "POST", make, body(name));
  await p.to(page);
  for (const [act, [field, value]] of Object.entries(switches)) {
    await press2(act);
    await complaint(p.page, lang); // none is chosen
    await p.to(page);
    if (p.width > 1000) await p.page.locator("[data-all=bulk]").check(); else await tickAll(p.page, names); // a narrow list has no head
    await press2(act);
    await told(p.page, lang, `${done}.${act}`, 2);
    assert.deepEqual((await mine()).map((x) => x[field]), [value, value], act);
    await p.to(page);
  }
  await tickAll(p.page, names);
  await fits(p.page, "what is ticked");
  await bulkDelete(p.page, lang);
  await told(p.page, lang, Object.keys(switches).length ? done + ".delete" : done, 2);
  assert.deepEqual(await mine(), []);
  p.clean(what, /status of 400/);
}
const manyChannels = (p) => many(p, { what: "hook", page: "/admin/notifications?q=hook-" + p.tag, make: "/api/notification/channels?account_id=" + p.account.id, body: (name) => ({ name, channel_type: "webhook", config: { url: lab.hook + "/hook" } }),
  left: () => list(p, "/api/notification/channels", "channels"), switches: { disable: ["enabled", false], enable: ["enabled", true] }, done: "notify.bulk" });
const manyKeys = (p) => many(p, { what: "many", page: "/admin/keys?q=many-" + p.tag, make: "/admin/api/keys?account_id=" + p.account.id, body: (name) => ({ name }),
  left: () => list(p, "/admin/api/keys", "keys"), switches: { revoke: ["revoked", true], restore: ["revoked", false] }, done: "keys.bulk" });
const manyTenants = (p) => many(p, { what: "tenant", page: "/admin/tenants?q=tenant-" + p.tag, make: "/admin/api/accounts", body: (name) => ({ name }), left: async () => (await must(p.site.api, "GET", "/admin/api/accounts")).accounts, done: "tenants.bulk" });
const manyPrices = (p) => many(p, { what: "many", page: "/admin/pricing?q=many-" + p.tag, make: "/api/pricing", body: (model_id) => ({ model_id, input_price_mtok: 1, output_price_mtok: 2 }), left: async () => (await must(p.site.api, "GET", "/api/pricing")).pricing.map((x) => ({ ...x, name: x.model_id })), done: "pricing.bulk" });

const flows = { "a node's day, first use, off and on": [nodes], "Amazon Q accounts by import, quota, refresh": [pool], "a key's limits, models and end": [keys, "administrator"], "usage by filters, its files and details": [usage],
  "a price is set, changed and ended": [prices, "administrator"], "a channel and a rule are edited": [notifications], "many channels at once": [manyChannels],
  "many keys at once": [manyKeys, "administrator"], "many accounts at once": [manyTenants, "administrator"], "many prices at once": [manyPrices, "administrator"] };
for (const role of Object.keys(logins)) for (const lang of Object.keys(zones)) for (const width of [1440, 390]) describe(`${role}, ${lang}, ${width} px`, () => {
  for (const [what, [flow, only]] of Object.entries(flows)) if (!only || only === role) test(what, async () => flow(await at(server, role, lang, width)));
});

test("client setup in Chinese, as tenant, 390 px", async () => {
  const p = await at(server, "tenant", "zh-CN", 390), { page } = p;
  await p.to("/admin/setup");
  await page.fill("#setup-key", "sk-my.key-1");
  await fill(page, { model: "flow-a" });
  await page.locator("#f-url").focus();
  await page.waitForFunction(() => document.getElementById("claude-file").textContent.includes("flow-a"));
  const file = await saved(page, page.locator("[data-download=claude-file]"));
  assert.equal(JSON.parse(file.text).env.ANTHROPIC_AUTH_TOKEN, "sk-my.key-1");
  assert.equal(await page.locator("[data-download=claude-file]").innerText(), say("zh-CN", "setup.download"));
  await page.locator("[data-copy=openai-python]").click();
  await page.locator("[data-copy=openai-python]", { hasText: say("zh-CN", "form.copied") }).waitFor();
  await fits(page, "client setup");
  await fill(page, { model: `x"; rm -rf /` });
  await page.locator("#f-url").focus();
  await complaint(page, "zh-CN");
  p.clean("client setup", /status of 400/);
});

test("the playground in Chinese, as tenant, 390 px", async () => {
  const p = await at(server, "tenant", "zh-CN", 390), { page } = p, state = () => page.locator("#play-state").innerText();
  await p.to("/admin/playground");
  assert.equal(await state(), say("zh-CN", "play.idle"));
  await page.fill("#play-key", "no-such-key");
  await page.fill("#play-prompt", "你好");
  await page.locator("[data-play=send]").click();
  await page.locator("#play-error:not([hidden])").waitFor();
  assert.equal(await state(), say("zh-CN", "play.failed"));
  p.clean("a wrong key", /status of 401/);
  await page.fill("#play-key", p.account.key);
  await page.fill("#play-model", "flow-a");
  await page.locator("[data-play=send]").click();
  await page.waitForFunction(() => /^\$\d/.test(document.querySelector("[data-out=cost]").textContent));
  assert.equal(await state(), say("zh-CN", "play.ended"));
  assert.deepEqual([await page.locator("[data-out=status]").innerText(), await page.locator("[data-out=node]").innerText()], ["200", "flow-node"]);
  await fits(page, "the playground");
  p.clean("the playground");
});

for (const [what, flow, role] of [["keys, as administrator", keys, "administrator"], ["nodes, as tenant", nodes, "tenant"], ["usage, as tenant", usage, "tenant"]])
  test(`behind the buffered adapter, zh-CN, 390 px: ${what}`, async () => flow(await at(lambda, role, "zh-CN", 390)));

test("behind the buffered adapter, zh-CN, 390 px: a tenant's keys are its administrator's", async () => {
  const p = await at(lambda, "tenant", "zh-CN", 390), { page } = p;
  assert.equal((await p.to("/admin/keys")).status(), 403);
  assert.match(await page.locator("main").innerText(), chinese);
  assert.ok(!(await menu(page)).some((h) => h.endsWith("/admin/keys")), "the menu leads where a tenant may not");
  p.clean("a tenant", /status of 403/);
});

for (const [timezoneId, typed, utc] of [["Asia/Shanghai", "2027-02-03T04:05", "2027-02-02T20:05:00Z"], ["America/New_York", "2027-07-03T04:05", "2027-07-03T08:05:00Z"]]) for (const lang of Object.keys(zones)) {
  const reader = () => person(browser, server.url, { as: logins.administrator, lang, timezoneId });

  test(`${timezoneId}, ${lang}: times, a chart's legend and a filter are of the reader's zone`, async () => {
    const p = await reader(), { page } = p;
    await page.goto(server.url + "/admin/audit");
    const stamp = page.locator("main time[datetime]").first();
    await inZone(page, await stamp.innerText(), await stamp.getAttribute("datetime"), timezoneId);
    await page.goto(server.url + "/admin/usage?span=24h");
    assert.equal(await page.locator("[data-zone-name]").first().innerText(), timezoneId);
    const chart = page.locator("[data-chart][data-per=hour]").first(), over = chart.locator(".u-over");
    await over.scrollIntoViewIfNeeded();
    const box = await over.boundingBox(), last = JSON.parse(await chart.getAttribute("data-chart"))[0].at(-1);
    await page.mouse.move(box.x + box.width - 3, box.y + box.height / 2);
    await inZone(page, await chart.locator(".u-legend").innerText(), new Date(last * 1000).toISOString(), timezoneId);
    await fill(page, { from: typed.replace("2027", "2026") });
    assert.equal(await page.inputValue("#f-span"), "own", "a time of one's own is another period");
    await submit(page.locator("main form[method=get]:has(#f-span)"));
    await page.waitForURL(/from=/);
    const exported = new URL(await page.locator('main a[href*="what=logs"]').first().getAttribute("href"), server.url);
    assert.equal(exported.searchParams.get("from"), utc.replace("2027", "2026"), "the filter's time is of another zone");
    assert.equal(await page.inputValue("#f-from"), typed.replace("2027", "2026"));
    p.clean("a zone");
    await p.close();
  });

  test(`${timezoneId}, ${lang}: a key's end is typed and shown in the reader's zone`, async () => {
    const p = await reader(), { page } = p, name = `zone-${timezoneId}-${lang}`.replace("/", "-").toLowerCase();
    await page.goto(server.url + "/admin/keys");
    await fill(page, { name, expires_at: typed });
    await submit(form(page, "create"));
    await page.locator("#once").waitFor();
    const [key] = (await must(server.api, "GET", "/admin/api/keys?q=" + name)).keys;
    assert.equal(Date.parse(key.expires_at), Date.parse(utc), `${typed} in ${timezoneId} became ${key.expires_at}`);
    await page.goto(server.url + "/admin/keys?q=" + name);
    await inZone(page, await row(page, name).locator(`time[datetime="${utc}"]`).innerText(), utc, timezoneId);
    await press(row(page, name).locator('a[href*="edit="]'));
    await page.waitForURL(/edit=/);
    assert.equal(await page.inputValue("#f-expires_at"), typed);
    p.clean("a key's end");
    await p.close();
  });
}

test("the first page of a browser with an empty cache is under 150 KB over the wire", async () => {
  const most = 150 * 1024, p = await person(browser, server.url, { width: 390 }), bytes = await weigh(p.page);
  await p.page.goto(server.url + "/login", { waitUntil: "networkidle" });
  const first = bytes();
  assert.ok(first > 10_000 && first < most, `the login is ${first} bytes`);
  await p.page.fill("#admin_key", adminKey);
  await p.page.locator("form:has(#admin_key) button").click();
  await p.page.waitForURL(server.url + "/admin");
  await p.page.waitForLoadState("load");
  assert.ok(bytes() < most, `the login and what comes behind it are ${bytes()} bytes`);
  await p.close();
  const q = await person(browser, server.url, { as: logins.administrator, width: 390 }), other = await weigh(q.page);
  await q.page.goto(server.url + "/admin", { waitUntil: "load" });
  assert.ok(other() > 10_000 && other() < most, `the overview is ${other()} bytes`);
  await q.close();
});
