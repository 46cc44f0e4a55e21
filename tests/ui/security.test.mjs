// What must be refused: other sites, a session that an attacker chose, another account's things by their numbers.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { crawl, nothing, open, person } from "./lib/browser.mjs";
import { seed, tenantPassword } from "./lib/seed.mjs";
import { adminKey, startLab, startServer } from "./lib/server.mjs";

let lab, server, seeded, browser;
before(async () => {
  lab = await startLab();
  server = await startServer(lab);
  seeded = await seed(server, lab, { name: (what) => `${what}-named` });
  browser = await open();
});
after(async () => { await browser?.close(); seeded?.closed(); await server?.stop(); await lab?.stop(); });

const admin = { admin_key: adminKey };

// holds is all that the gateway has, but for what goes by the clock and by requests.
async function holds(only) {
  const out = {};
  for (const who of Object.values(seeded.accounts)) {
    if (only && who.id !== only) continue;
    const of = `?account_id=${who.id}`;
    for (const path of ["/admin/api/nodes" + of, "/admin/api/keys" + of, "/admin/api/config" + of, "/api/notification/channels" + of, "/api/notification/subscriptions" + of, "/api/alerts/rules" + of, `/api/monitor/shares${of}&include_revoked=true`])
      out[path] = (await server.api("GET", path)).json;
  }
  out.accounts = (await server.api("GET", "/admin/api/accounts")).json.accounts.filter((a) => !only || a.id === only);
  const still = /_at$|^(last_|ping|state|fail|first_byte|error_rate|raised|failed|cooling|requests$|total_|success|cache|input|output|active_requests|current|circuit|weight_now|traffic|health|trend)/;
  return JSON.stringify(out, (k, v) => (still.test(k) ? undefined : v), 1);
}

let everything; // of the administrator

// formsOf are all the forms of the pages that someone sees, with what they would send. Without scripts there are more of them.
async function formsOf(as) {
  const p = await person(browser, server.url, { as, javaScriptEnabled: false }), found = new Map();
  const hrefs = await crawl(p.page, server.url, { see: async (page) => {
    for (const f of await page.locator("form[method=post]").evaluateAll((fs) => fs.map((x) => ({ action: x.action, fields: [...new FormData(x)].filter(([, v]) => typeof v === "string") }))))
      if (!found.has(f.action)) found.set(f.action, f);
  } });
  await p.close();
  return { hrefs, forms: [...found.values()] };
}

test("a session that was there before the login is not the session after it", async () => {
  const p = await person(browser, server.url);
  await p.context.addCookies([{ name: "session_token", value: "chosen-by-another", url: server.url }]);
  await p.page.goto(server.url + "/login");
  await p.page.fill("#admin_key", adminKey);
  await p.page.locator("form:has(#admin_key) button").click();
  await p.page.waitForURL(server.url + "/admin");
  const mine = (await p.context.cookies()).filter((c) => c.name === "session_token");
  assert.equal(mine.length, 1);
  assert.notEqual(mine[0].value, "chosen-by-another");
  for (const value of ["chosen-by-another", mine[0].value.slice(0, -1), ""])
    assert.equal((await server.api("GET", "/admin/api/accounts", undefined, { cookie: "session_token=" + value })).status, 401, `the token ${value} opens a session`);
  // a second login makes a second session
  const again = await p.context.request.post(server.url + "/login", { form: admin, maxRedirects: 0 });
  assert.equal(again.status(), 303);
  assert.notEqual((await p.context.cookies()).find((c) => c.name === "session_token").value, mine[0].value);
  await p.close();
});

test("every form, sent from another site, is refused", async () => {
  const p = await person(browser, server.url, { as: admin });
  const { forms } = await (everything = formsOf(admin));
  const cookie = (await p.context.cookies()).map((c) => `${c.name}=${c.value}`).join("; ");
  assert.ok(forms.length >= 20, `only ${forms.length} forms`);
  const before = await holds(), wrong = [];
  for (const f of forms) {
    if (new URL(f.action).searchParams.get("do") === "language") continue; // it changes nothing but how pages read
    for (const headers of [{ origin: "http://evil.example", "sec-fetch-site": "cross-site" }, { origin: "http://evil.example" }, { origin: "null", "sec-fetch-site": "cross-site" }, { "sec-fetch-site": "same-site", origin: "http://evil.example" }]) {
      const r = await fetch(f.action, { method: "POST", redirect: "manual", headers: { ...headers, cookie, accept: "text/html", "content-type": "application/x-www-form-urlencoded" }, body: new URLSearchParams(f.fields) });
      if (r.status !== 403) wrong.push(`${f.action} from ${JSON.stringify(headers)}: ${r.status} ${r.headers.get("location") ?? ""}`);
    }
  }
  assert.equal(await holds(), before, "something changed");
  const r = await p.context.request.get(server.url + "/admin/api/accounts");
  assert.equal(r.status(), 200, "another site ended the session");
  await p.close();
  nothing(wrong);
});

test("another site in the same browser: forms, fetch, frames, links that act", async () => {
  // "localhost" is another site than 127.0.0.1, and another port of 127.0.0.1 another origin of the same
  const targets = [["/admin/api/nodes", '{"name":"evil","base_url":"http://192.0.2.1"}'], ["/admin/api/keys", '{"name":"evil"}'], ["/admin/api/accounts", '{"name":"evil","password":"evil password"}'],
    ["/admin/keys?do=create", "name=evil&scope=admin"], ["/admin/nodes?do=create", "kind=anthropic&name=evil&base_url=http://192.0.2.1"], ["/admin/tenants?do=create", "name=evil&password=evil+password"],
    ["/admin/settings?do=save", "retries=9&fail_limit=9&health_interval_sec=99"], ["/logout", ""], ["/login?do=login", "username=tenant&password=" + encodeURIComponent(tenantPassword)]];
  const site = createServer((req, res) => {
    const i = +new URL(req.url, "http://x").searchParams.get("form");
    res.setHeader("content-type", "text/html");
    const [path, body] = targets[i] ?? ["/", ""];
    const fields = path.includes("do=") ? [...new URLSearchParams(body)] : [[body, ""]]; // a JSON text as the name of a field, as text/plain
    const esc = (s) => s.replace(/&/g, "&amp;").replace(/"/g, "&quot;");
    res.end(`<form id=f method=post action="${server.url}${path}" enctype="${path.includes("do=") ? "application/x-www-form-urlencoded" : "text/plain"}">${fields.map(([k, v]) => `<input name="${esc(k)}" value="${esc(v)}">`).join("")}</form><iframe src="${server.url}/admin"></iframe>`);
  });
  await new Promise((done) => site.listen(0, done));
  site.unref();
  const port = site.address().port;
  const before = await holds(), wrong = [];
  const p = await person(browser, server.url, { as: admin });
  const session = async () => (await p.context.cookies(server.url)).find((c) => c.name === "session_token")?.value;
  const token = await session();
  for (const host of ["localhost", "127.0.0.1"]) {
    for (const [i, [path, body]] of targets.entries()) {
      await p.page.goto(`http://${host}:${port}/?form=${i}`);
      const [r] = await Promise.all([p.page.waitForResponse((x) => x.request().method() === "POST" && x.url() === server.url + path), p.page.waitForNavigation(), p.page.locator("#f").evaluate((f) => f.submit())]);
      if (![401, 403].includes(r.status()) && !(r.status() === 303 && host === "localhost" && /\/login$/.test(r.headers().location))) wrong.push(`a form of ${host} to ${path}: ${r.status()} ${r.headers().location ?? ""}`);
      await p.page.goto(`http://${host}:${port}/`);
      const got = await p.page.evaluate(async ([url, text]) => {
        const out = [];
        for (const mode of ["no-cors", "cors"]) for (const type of ["text/plain", "application/x-www-form-urlencoded"])
          out.push(await fetch(url, { method: "POST", mode, credentials: "include", headers: { "content-type": type }, body: text }).then((x) => x.type + " " + x.status, () => "refused"));
        out.push(await fetch(new URL("/admin/api/accounts", url), { credentials: "include" }).then(() => "read", () => "refused"));
        return out;
      }, [server.url + path, body]);
      if (got.some((g) => !["refused", "opaque 0"].includes(g))) wrong.push(`a script of ${host} to ${path}: ${got}`);
    }
    await p.page.goto(`http://${host}:${port}/`);
    const frame = await p.page.waitForFunction(() => document.querySelector("iframe")) && p.page.frames()[1];
    if (frame && /Sluice|overview/i.test(await frame.evaluate(() => document.title).catch(() => ""))) wrong.push(`a frame of ${host} shows the console`);
  }
  assert.equal(await session(), token, "another site changed the session");
  assert.equal(await holds(), before, "something changed");
  assert.equal((await p.context.request.get(server.url + "/admin/api/accounts")).status(), 200, "another site ended the session");
  // what changes something is no link
  for (const host of ["localhost", "127.0.0.1"]) for (const path of ["/admin/keys?do=create&name=evil", "/admin/nodes?do=delete&id=1", "/admin/api/nodes/disable?id=1", "/logout"]) {
    await p.page.goto(`http://${host}:${port}/`);
    const [r] = await Promise.all([p.page.waitForResponse((x) => x.url() === server.url + path), p.page.waitForURL((u) => u.origin === server.url), p.page.evaluate((to) => { location.href = to; }, server.url + path)]);
    if (path === "/logout" && r.status() !== 403) wrong.push(`a link of ${host} signs out: ${r.status()}`);
  }
  assert.equal(await session(), token, "a link changed the session");
  assert.equal((await p.context.request.get(server.url + "/admin/api/accounts")).status(), 200, "a link ended the session");
  assert.equal(await holds(), before, "a link changed something");
  await p.close();
  nothing(wrong);
});

test("a tenant who calls another's pages and forms by their addresses is refused", async () => {
  const boss = await person(browser, server.url, { as: admin });
  const tenant = await person(browser, server.url, { as: { username: "tenant-named", password: tenantPassword } });
  const cookie = (await tenant.context.cookies()).map((c) => `${c.name}=${c.value}`).join("; ");
  const wrong = [], other = seeded.accounts.other;
  // all that the other tenant and the administrator see, and all that they could send from there
  const theirs = [await formsOf({ username: "other-named", password: "other password 1" }), await (everything ?? formsOf(admin))];
  for (const w of ["nodes", "keys", "accounts", "monitor", "monitor/shares", "notifications", "settings", "tenants"]) {
    const href = `${server.url}/admin/${w}?account_id=${other.id}`, p = boss.page;
    await p.goto(href);
    theirs.push({ hrefs: [href], forms: await p.locator("form[method=post]").evaluateAll((fs) => fs.map((x) => ({ action: x.action, fields: [...new FormData(x)].filter(([, v]) => typeof v === "string") }))) });
  }
  const hrefs = [...new Set(theirs.flatMap((t) => t.hrefs))], forms = theirs.flatMap((t) => t.forms);
  // single things by their numbers, too
  for (const id of other.nodes) hrefs.push(`${server.url}/admin/nodes/${id}`, `${server.url}/admin/nodes/${id}?account_id=${other.id}`, `${server.url}/admin/nodes?edit=${id}`);
  for (const id of [other.keyID, other.id, "default"]) hrefs.push(`${server.url}/admin/keys?edit=${id}`, `${server.url}/admin/tenants?edit=${id}`);
  hrefs.push(`${server.url}/admin/accounts/${seeded.pool}`, `${server.url}/admin/notifications?edit=${other.channel}`, `${server.url}/admin/notifications?tab=rules&edit=${other.rule}`);
  assert.ok(hrefs.length > 30 && forms.length > 30, `${hrefs.length} pages, ${forms.length} forms`);
  const secret = /(other|default)-(claude|openai|broken|notes|ci|description|manager|hook|rule|title|content)-named|pool(-notes)?-named/;
  for (const href of hrefs) {
    const r = await fetch(href, { redirect: "manual", headers: { cookie, accept: "text/html" } });
    const text = await r.text(), leak = secret.exec(text);
    if (leak) wrong.push(`GET ${href.slice(server.url.length)}: ${r.status} shows ${leak[0]}`);
    if (r.status >= 500) wrong.push(`GET ${href.slice(server.url.length)}: ${r.status}`);
  }
  const before = [await holds(other.id), await holds("default")];
  for (const f of forms) {
    const act = new URL(f.action).searchParams.get("do");
    if (act === "language" || act === "everywhere" || f.action.endsWith("/logout")) continue; // they end the tenant's own session
    const names = new URLSearchParams(f.fields);
    if (names.has("confirm")) names.set("confirm", names.get("name"));
    if (!f.action.includes("account_id") && !names.has("id") && !/id=/.test(f.action) && !names.has("account_id")) names.set("account_id", other.id);
    const r = await fetch(f.action, { method: "POST", redirect: "manual", headers: { cookie, accept: "text/html", origin: server.url, "sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded" }, body: names });
    const leak = secret.exec(await r.text());
    // what the form itself brought may come back in it
    if (leak && ![...names.values()].join(" ").includes(leak[0])) wrong.push(`POST ${f.action.slice(server.url.length)}: ${r.status} shows ${leak[0]}`);
    if (r.status >= 500) wrong.push(`POST ${f.action.slice(server.url.length)}: ${r.status}`);
  }
  assert.equal(await holds(other.id), before[0], "the other tenant's things changed");
  assert.equal(await holds("default"), before[1], "the default account's things changed");
  assert.equal((await tenant.context.request.get(server.url + "/admin/api/me")).status(), 200, "the session ended on the way, and what came after it proved nothing");
  for (const x of [boss, tenant]) await x.close();
  nothing(wrong);
});

test("a tenant's menu holds nothing of the administrator's, and those pages are refused", async () => {
  const boss = await person(browser, server.url, { as: admin }), tenant = await person(browser, server.url, { as: { username: "tenant-named", password: tenantPassword } });
  const paths = async (p) => { await p.page.goto(server.url + "/admin"); return p.page.locator("aside nav a").evaluateAll((as) => as.map((a) => a.getAttribute("href"))); };
  const all = await paths(boss), own = await paths(tenant);
  assert.ok(own.every((h) => all.includes(h)) && own.length < all.length, `${own} of ${all}`);
  for (const href of all.filter((h) => !own.includes(h))) {
    const r = await tenant.page.goto(server.url + href);
    assert.equal(r.status(), 403, href);
    assert.ok(await tenant.page.locator("main [role=alert], main .empty").count() > 0, `${href} says nothing`);
  }
  await boss.close();
  await tenant.close();
});

// Over plain HTTP and by a name, as in an office, a browser does not say which site a form comes from: only its Origin tells.
test("forms work at a plain address of the network", async () => {
  const office = await open("--host-resolver-rules=MAP gateway.lan 127.0.0.1");
  try {
    const url = server.url.replace(/\/\/[^:]+/, "//gateway.lan"), context = await office.newContext({ locale: "en-US" }), page = await context.newPage();
    await page.goto(url + "/login");
    await page.locator("[name=admin_key]").fill(adminKey);
    await Promise.all([page.waitForURL((u) => u.pathname === "/admin"), page.locator("form:has([name=admin_key]) button[type=submit], form:has([name=admin_key]) button:not([type])").first().click()]);
    await page.goto(url + "/admin/tenants");
    await page.locator("#form [name=name]").fill("from the office");
    await page.locator("#form button.btn-primary").click();
    await page.getByText("from the office").first().waitFor();
  } finally { await office.close(); }
  const made = (await server.api("GET", "/admin/api/accounts?q=from+the+office")).json.accounts;
  assert.equal(made.length, 1);
  await server.api("DELETE", "/admin/api/accounts?id=" + made[0].id);
});
