// What an operator does, by mouse and by keyboard.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { audit, open, person } from "./lib/browser.mjs";
import { seed, tenantPassword } from "./lib/seed.mjs";
import { adminKey, must, startLab, startServer } from "./lib/server.mjs";

let lab, server, seeded, browser;
before(async () => {
  lab = await startLab();
  server = await startServer(lab);
  seeded = await seed(server, lab);
  browser = await open();
});
after(async () => { await browser?.close(); seeded?.closed(); await server?.stop(); await lab?.stop(); });

const admin = { admin_key: adminKey };
const form = (page, act, within = "main") => page.locator(`${within} form[action*="do=${act}"]`);
const row = (page, name) => page.locator("main tbody tr", { hasText: name });
const said = (page) => page.locator('main [role="status"].alert-success').first();
const submit = (f) => f.locator("button.btn-primary, button.btn-danger, button:not([type=button])").last().click();

async function byForm(p, fields) {
  for (const [id, value] of Object.entries(fields)) await p.page.fill("#" + id, value);
  await p.page.locator(`form:has(#${Object.keys(fields)[0]}) button`).click();
}

// destroy goes through a dialog that asks for a name: a wrong one changes nothing.
async function destroy(page, of, name) {
  await of.locator("[data-open^=delete]").click();
  const dialog = page.locator("dialog[open]");
  await dialog.locator("[name=confirm]").fill("another name");
  await dialog.locator("button.btn-danger").click();
  await page.locator('main [role="alert"], main .invalid-feedback').first().waitFor();
  await page.locator("main tbody tr", { hasText: name }).locator("[data-open^=delete]").click();
  await page.locator("dialog[open] [name=confirm]").fill(name);
  await page.locator("dialog[open] button.btn-danger").click();
  await said(page).waitFor();
}

const chinese = /\p{Script=Han}/u;

for (const { lang, width } of [{ lang: "en-US", width: 1440 }, { lang: "zh-CN", width: 390 }]) {
  const who = (how) => person(browser, server.url, { lang, width, ...how });
  // what is wrong is said in the reader's language
  const complaint = async (page) => {
    const at = page.locator("main .invalid-feedback, main [role=alert]").first();
    await at.waitFor();
    const text = await at.innerText();
    assert.equal(chinese.test(text), lang === "zh-CN", text);
  };

  test(`${lang}, ${width} px: login by key and by password, and not by wrong ones`, async () => {
    for (const [fields, name] of [[{ admin_key: adminKey }, /default/i], [{ username: "tenant", password: tenantPassword }, /tenant/]]) {
      const p = await who({});
      await p.page.goto(server.url + "/admin/monitor");
      assert.match(p.page.url(), /\/login\?next=/);
      const wrong = Object.fromEntries(Object.entries(fields).map(([k, v]) => [k, k === "username" ? v : v + "x"]));
      await byForm(p, wrong);
      await p.page.locator('[role="alert"]').waitFor();
      assert.equal((await p.context.cookies()).filter((c) => c.name === "session_token" && c.value).length, 0, "a session after a wrong password");
      if (fields.username) assert.equal(await p.page.inputValue("#username"), "tenant", "the name has to be typed again");
      assert.ok(!(await p.page.content()).includes(Object.values(wrong).at(-1)), "the page repeats a secret");
      p.clean("a wrong login", /status of 401/);
      await byForm(p, fields);
      await p.page.waitForURL(server.url + "/admin/monitor");
      assert.match(await p.page.locator("header").innerText(), name);
      const cookie = (await p.context.cookies()).find((c) => c.name === "session_token");
      assert.ok(cookie.httpOnly && cookie.sameSite === "Lax", JSON.stringify(cookie));
      p.clean("a login");
      await p.close();
    }
  });

  for (const [role, as] of Object.entries({ administrator: admin, tenant: { username: "tenant", password: tenantPassword } })) test(`${lang}, ${width} px: a node is added, edited, disabled and deleted by its ${role}`, async () => {
    const p = await who({ as }), { page } = p, of = role === "tenant" ? "?account_id=" + seeded.accounts.tenant.id : "";
    await page.goto(server.url + "/admin/nodes");
    await page.locator('main a[href*="new=anthropic"]').click();
    await page.fill("#f-name", `flow-node-${lang}`);
    await page.fill("#f-base_url", "http://192.0.2.1:9/no such path");
    await page.fill("#f-weight", "7");
    await page.fill("#f-requests_per_minute", "-3");
    await submit(form(page, "create"));
    await complaint(page);
    assert.equal(await page.inputValue("#f-name"), `flow-node-${lang}`, "the form lost its input");
    assert.equal(await page.inputValue("#f-weight"), "7", "the form lost its input");
    p.clean("a refused form", /status of 4\d\d/);
    await page.fill("#f-base_url", lab.anthropic);
    await page.fill("#f-api_key", "sk-ant-flow-secret");
    await page.fill("#f-requests_per_minute", "60");
    await submit(form(page, "create"));
    await row(page, `flow-node-${lang}`).waitFor();
    assert.ok(!(await page.content()).includes("sk-ant-flow-secret"), "the page shows the credential");

    await row(page, `flow-node-${lang}`).locator('a[href*="edit="]').click();
    await page.fill("#f-name", `flow-node-2-${lang}`);
    await submit(form(page, "update"));
    await row(page, `flow-node-2-${lang}`).waitFor();
    await form(row(page, `flow-node-2-${lang}`), "check", "").locator("button").click();
    await page.locator("main .alert", { hasText: `flow-node-2-${lang}` }).waitFor();
    await form(row(page, `flow-node-2-${lang}`), "disable", "").locator("button").click();
    await form(row(page, `flow-node-2-${lang}`), "enable", "").waitFor();
    const node = async () => (await must(server.api, "GET", "/admin/api/nodes" + of)).nodes.find((n) => n.name === `flow-node-2-${lang}`);
    assert.equal((await node()).disabled, true);
    await form(row(page, `flow-node-2-${lang}`), "enable", "").locator("button").click();
    await form(row(page, `flow-node-2-${lang}`), "disable", "").waitFor();
    assert.equal((await node()).disabled, false);
    p.clean("a node's life", /status of 4\d\d/);
    await destroy(page, row(page, `flow-node-2-${lang}`), `flow-node-2-${lang}`);
    assert.equal(await node(), undefined);
    p.clean("a node's end", /status of 4\d\d/);
    await p.close();
  });

  test(`${lang}, ${width} px: a key is made, shown once, rotated and revoked`, async () => {
    const p = await who({ as: admin }), { page } = p;
    await page.goto(server.url + "/admin/keys");
    await page.fill("#f-name", `flow-key-${lang}`);
    await page.fill("#f-usd_per_day", "five");
    await submit(form(page, "create"));
    await complaint(page);
    assert.equal(await page.inputValue("#f-name"), `flow-key-${lang}`);
    assert.equal(await page.inputValue("#f-usd_per_day"), "five");
    await page.fill("#f-usd_per_day", "5");
    await submit(form(page, "create"));
    const first = await page.locator("#once").innerText();
    const works = async (key) => (await fetch(server.url + "/v1/models", { headers: { "x-api-key": key } })).status;
    assert.equal(await works(first), 200);
    await page.goto(server.url + "/admin/keys");
    assert.ok(!(await page.content()).includes(first), "the key is shown again");

    await row(page, `flow-key-${lang}`).locator("[data-open^=rotate]").click();
    await page.locator("dialog[open] [name=overlap]").fill("0");
    await page.locator("dialog[open] button.btn-primary").click();
    await complaint(page);
    assert.equal(await works(first), 200, "a credential ended at once, and nobody confirmed it");
    await row(page, `flow-key-${lang}`).locator("[data-open^=rotate]").click();
    await page.locator("dialog[open] [name=overlap]").fill("0");
    await page.locator("dialog[open] [name=confirm]").fill(`flow-key-${lang}`);
    await page.locator("dialog[open] button.btn-primary").click();
    const second = await page.locator("#once").innerText();
    assert.deepEqual([await works(first), await works(second)], [401, 200]);
    await page.goto(`${server.url}/admin/keys?account_id=default&q=flow-key-${lang}&sort=-id`);
    await form(row(page, `flow-key-${lang}`), "revoke", "").locator("button").click();
    await said(page).waitFor();
    assert.match(page.url(), new RegExp(`account_id=default&q=flow-key-${lang}&sort=-id&done=`), "the list is another one");
    assert.equal(await works(second), 401);
    await form(row(page, `flow-key-${lang}`), "restore", "").locator("button").click();
    await said(page).waitFor();
    assert.equal(await works(second), 200);
    await destroy(page, row(page, `flow-key-${lang}`), `flow-key-${lang}`);
    assert.equal(await works(second), 401);
    p.clean("a key's life", /status of 4\d\d/);
    await p.close();
  });

  test(`${lang}, ${width} px: an account is made; its first key is shown once, and its password opens its own console`, async () => {
    const p = await who({ as: admin }), { page } = p;
    await page.goto(server.url + "/admin/tenants");
    await page.fill("#f-name", `flow-account-${lang}`);
    await page.fill("#f-password", "short");
    await submit(form(page, "create"));
    await complaint(page);
    assert.equal(await page.inputValue("#f-name"), `flow-account-${lang}`);
    await page.fill("#f-password", "a long password");
    await submit(form(page, "create"));
    const key = await page.locator("#once").innerText();
    assert.equal((await fetch(server.url + "/v1/models", { headers: { "x-api-key": key } })).status, 200);
    p.clean("an account", /status of 4\d\d/);
    await p.close();
    const q = await who({ as: { username: `flow-account-${lang}`, password: "a long password" } });
    await q.page.goto(server.url + "/admin/nodes");
    assert.ok(!(await q.page.content()).includes("default-claude"), "a tenant sees the nodes of others");
    q.clean("a new tenant");
    await q.close();
  });

  test(`${lang}, ${width} px: a channel is tested, and a share opens the wall`, async () => {
    const p = await who({ as: admin }), { page } = p;
    await page.goto(server.url + "/admin/notifications");
    await form(row(page, "default-hook"), "test", "").locator("button").click();
    await page.locator("main .alert").first().waitFor();
    assert.match(await page.locator("main .alert").first().getAttribute("class"), /success/, await page.locator("main .alert").first().innerText());
    await page.goto(server.url + "/admin/monitor/shares");
    await submit(form(page, "create"));
    const made = await page.locator("#made").getAttribute("href");
    p.clean("a share");
    const q = await who({});
    await q.page.goto(made);
    assert.match(await q.page.locator("main").innerText(), /default-claude/);
    assert.ok(!(await q.page.content()).includes(lab.anthropic), "a share shows an address");
    await page.locator('[data-open^="revoke-"]').first().click();
    await page.locator("dialog[open] [name=confirm]").fill("another word");
    await page.locator("dialog[open] button.btn-danger").click();
    await complaint(page);
    assert.equal((await q.page.goto(made)).status(), 200, "a link ended, and nobody confirmed it");
    await page.locator('[data-open^="revoke-"]').first().click();
    await page.locator("dialog[open] [name=confirm]").fill(lang === "en-US" ? "delete" : "删除");
    await page.locator("dialog[open] button.btn-danger").click();
    await said(page).waitFor();
    assert.equal((await q.page.goto(made)).status(), 404);
    q.clean("a share", /status of 404/);
    for (const x of [p, q]) await x.close();
  });

  test(`${lang}, ${width} px: settings are kept, and what is refused is said`, async () => {
    const p = await who({ as: admin }), { page } = p;
    await page.goto(server.url + "/admin/settings");
    await page.fill("#f-retries", "99");
    await submit(form(page, "save"));
    await complaint(page);
    assert.equal(await page.inputValue("#f-retries"), "99");
    await page.fill("#f-retries", "4");
    await submit(form(page, "save"));
    await said(page).waitFor();
    await page.goto(server.url + "/admin/settings");
    assert.equal(await page.inputValue("#f-retries"), "4");
    p.clean("settings", /status of 4\d\d/);
    await p.close();
  });

  test(`${lang}, ${width} px: an Amazon Q account by device login`, async () => {
    const p = await who({ as: admin }), { page } = p;
    await page.goto(server.url + "/admin/accounts?add=login");
    await page.locator('#add [name="name"]').fill(`flow-pool-${lang}`);
    await submit(form(page, "login", "#add"));
    const code = await page.locator("#user-code").innerText();
    assert.equal((await fetch(`${lab.hook}/approve/${code}`, { method: "POST" })).status, 200);
    await page.locator("main tbody tr, main .alert-success", { hasText: `flow-pool-${lang}` }).first().waitFor({ timeout: 30_000 });
    assert.ok((await must(server.api, "GET", "/admin/api/nodes")).nodes.some((n) => n.name === `flow-pool-${lang}`), "the login made no account");
    p.clean("a device login");
    await p.close();
  });
}

test("a link with a key signs in, and the key leaves the address", async () => {
  const p = await person(browser, server.url);
  await p.page.goto(`${server.url}/admin?admin_key=${adminKey}`);
  assert.equal(p.page.url(), server.url + "/admin");
  p.clean("a link with a key");
  await p.close();
});

test("logout ends the session, also where its cookie was kept", async () => {
  const p = await person(browser, server.url, { as: admin }), copy = await person(browser, server.url), other = await person(browser, server.url, { as: admin });
  await copy.context.addCookies(await p.context.cookies());
  await copy.page.goto(server.url + "/admin");
  assert.equal(copy.page.url(), server.url + "/admin");
  await p.page.goto(server.url + "/admin");
  await p.page.locator("form[action$='/logout'] button").click();
  await p.page.waitForURL(server.url + "/login");
  for (const q of [p, copy]) {
    await q.page.goto(server.url + "/admin/nodes");
    assert.match(q.page.url(), /\/login/, "the session goes on");
    assert.equal((await q.context.request.get(server.url + "/admin/api/accounts")).status(), 401);
  }
  await other.page.goto(server.url + "/admin/nodes");
  assert.equal(other.page.url(), server.url + "/admin/nodes", "another's session ended, too");
  for (const q of [p, copy, other]) await q.close();
});

test("signing out everywhere ends the sessions of one password, and no others", async () => {
  const made = [["mover", "mover password 1"], ["stayer", "stayer password 1"]];
  for (const [name, password] of made) await must(server.api, "POST", "/admin/api/accounts", { name, password });
  const [here, there, other] = await Promise.all([made[0], made[0], made[1]].map(([username, password]) => person(browser, server.url, { as: { username, password } })));
  for (const q of [here, there, other]) await q.page.goto(server.url + "/admin/settings");
  await form(here.page, "everywhere").locator("button").click();
  await here.page.waitForURL(/\/login/);
  for (const q of [here, there]) {
    assert.equal((await q.context.request.get(server.url + "/admin/api/nodes")).status(), 401, "a session goes on");
    await q.page.goto(server.url + "/admin/nodes");
    assert.match(q.page.url(), /\/login/);
  }
  await other.page.goto(server.url + "/admin/nodes");
  assert.equal(other.page.url(), server.url + "/admin/nodes", "another's session ended, too");
  for (const q of [here, there, other]) { q.clean("everywhere"); await q.close(); }
});

test("another password ends every session of the account", async () => {
  const made = await must(server.api, "POST", "/admin/api/accounts", { name: "leaver", password: "leaver password 1" });
  const as = { username: "leaver", password: "leaver password 1" };
  const all = [await person(browser, server.url, { as }), await person(browser, server.url, { as })];
  for (const q of all) { await q.page.goto(server.url + "/admin"); assert.equal(q.page.url(), server.url + "/admin"); }
  await must(server.api, "PUT", "/admin/api/accounts?id=" + made.id, { password: "leaver password 2" });
  for (const q of all) {
    await q.page.goto(server.url + "/admin");
    assert.match(q.page.url(), /\/login/, "a session of the old password goes on");
    assert.equal((await q.context.request.get(server.url + "/admin/api/nodes")).status(), 401);
    await q.close();
  }
});

const madeOnce = async (look) => {
  const p = await person(browser, server.url, { as: admin }), { page } = p, name = "once-" + look.name;
  await page.goto(server.url + "/admin/keys");
  await page.fill("#f-name", name);
  await submit(form(page, "create"));
  const key = await page.locator("#once").innerText();
  await page.waitForLoadState(); // the scripts that keep a reload from sending it again come last
  await look(page, key, name);
  await p.close();
};

test("a key that was shown once is not in the page after a reload", () => madeOnce(async function shown(page, key) {
  await page.reload();
  assert.ok(!(await page.content()).includes(key), "the key is shown again");
}));

test("a reload after a form sends nothing again", () => madeOnce(async function repeated(page, _, name) {
  await page.reload();
  assert.equal((await must(server.api, "GET", "/admin/api/keys")).keys.filter((k) => k.name === name).length, 1);
}));

test("language and theme", async () => {
  const p = await person(browser, server.url, { as: admin }), { page } = p;
  await page.goto(server.url + "/admin/nodes?q=default&sort=-name");
  const lang = () => page.evaluate(() => document.documentElement.lang), theme = () => page.evaluate(() => document.documentElement.dataset.bsTheme);
  assert.equal(await lang(), "en");
  await form(page, "language", "header").locator("button").click();
  await page.waitForFunction(() => document.documentElement.lang === "zh-CN");
  assert.equal(page.url(), server.url + "/admin/nodes?q=default&sort=-name", "the switch leads elsewhere");
  await page.goto(server.url + "/admin");
  assert.equal(await lang(), "zh-CN", "the choice is forgotten");
  assert.equal(await theme(), "light");
  const seen = new Set();
  for (let i = 0; i < 3; i++) { await page.locator("[data-theme-switch]").click(); seen.add(await theme()); }
  assert.deepEqual([...seen].sort(), ["dark", "light"]);
  while (await theme() !== "dark") await page.locator("[data-theme-switch]").click();
  await page.goto(server.url + "/admin/keys");
  assert.equal(await theme(), "dark", "the choice is forgotten");
  p.clean("switches");
  await p.close();
});

test("by keyboard alone: login, the way past the menu, a dialog", async () => {
  const p = await person(browser, server.url), { page } = p, keys = page.keyboard;
  const focus = () => page.evaluate(() => { const e = document.activeElement; return e.id || e.dataset.open || e.className || e.tagName; });
  const tab = async (until, most = 60) => {
    for (let i = 0; i < most; i++) { await keys.press("Tab"); if (await page.evaluate((s) => document.activeElement.matches(s), until)) return; }
    assert.fail(`Tab never reaches ${until}; the focus is on ${await focus()}`);
  };
  await page.goto(server.url + "/login?next=/admin/keys");
  await tab("#admin_key");
  await keys.type(adminKey);
  await keys.press("Enter");
  await page.waitForURL(server.url + "/admin/keys");
  await keys.press("Tab");
  assert.equal(await focus(), "skip", "the first stop is not the way past the menu");
  // a window that has just loaded its page may get its focus a moment later on a busy machine
  await page.waitForFunction(() => document.querySelector(".skip").getBoundingClientRect().left >= 0, null, { timeout: 5000 });
  await keys.press("Enter");
  await tab("main *");
  await tab("[data-open^=delete]", 200);
  const opener = await focus();
  const ring = await page.evaluate(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle !== "none" || s.boxShadow !== "none"; });
  assert.ok(ring, "the focus cannot be seen");
  await keys.press("Enter");
  assert.ok(await page.locator("dialog[open]").evaluate((d) => d.contains(document.activeElement)), "the focus is not in the dialog");
  assert.deepEqual(await audit(page, "dialog[open]"), []);
  for (let i = 0; i < 8; i++) {
    await keys.press("Tab");
    // between its last and its first stop the focus passes the browser's own bar, which is the body to a page
    assert.ok(await page.evaluate(() => document.activeElement === document.body || document.activeElement.closest("dialog[open]") !== null), `the focus left the dialog for ${await focus()}`);
  }
  await keys.press("Escape");
  assert.equal(await page.locator("dialog[open]").count(), 0);
  assert.equal(await focus(), opener, "the focus does not return");
  p.clean("the keyboard");
  await p.close();
});

test("without scripts: login, a list, a form", async () => {
  const p = await person(browser, server.url, { javaScriptEnabled: false }), { page } = p;
  await page.goto(server.url + "/login");
  await byForm(p, { admin_key: adminKey });
  await page.goto(server.url + "/admin/keys");
  await page.fill("#f-name", "no-script");
  await submit(form(page, "create"));
  assert.ok((await page.locator("#once").innerText()).length > 8);
  await p.close();
});
