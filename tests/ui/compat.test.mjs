// The compatibility table of Bedrock, as an operator looks something up in it and changes it; and a link with a key, opened
// where somebody else is signed in.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { audit, nothing, open, overflow, person } from "./lib/browser.mjs";
import { adminKey, must, startServer } from "./lib/server.mjs";

let server, browser;
const tenantKey = "ui-tenant-key-0123456789";
before(async () => {
  server = await startServer();
  await must(server.api, "POST", "/admin/api/accounts", { name: "tenant", proxy_api_key: tenantKey });
  browser = await open();
});
after(async () => { await browser?.close(); await server?.stop(); });

const admin = { admin_key: adminKey };
const own = async () => (await must(server.api, "GET", "/api/compat")).rows.filter((r) => r.source === "operator");
const said = (page) => page.locator('main [role="status"].alert-success').first();
const row = (page, name) => page.locator("main tbody tr", { hasText: name });

for (const { lang, width, search, word, missing } of [{ lang: "en-US", width: 1440, search: "FILES-api", word: "delete", missing: /where the row comes from/ }, { lang: "zh-CN", width: 360, search: "files-API", word: "删除", missing: /依据/ }]) {
  test(`${lang}, ${width} px: a row is found, overridden, edited, refused, reset; others deleted`, async () => {
    const p = await person(browser, server.url, { as: admin, lang, width }), { page } = p;
    await page.goto(server.url + "/admin/nodes?new=bedrock");
    await page.locator("main a[href$='/admin/bedrock']").click();
    await page.waitForURL(/\/admin\/bedrock/);
    const all = await page.locator("main tbody tr").count();
    assert.ok(all >= 50, `${all} rows on the first page`);
    await page.locator("a[rel=next]").click();
    await page.waitForURL(/page=2/);
    await page.selectOption("#kind", "beta");
    await page.waitForURL(/kind=beta/);
    await page.fill("#q", search);
    await page.keyboard.press("Enter");
    await page.waitForURL(/q=files/i);
    assert.equal(await page.locator("main tbody tr").count(), 1);
    // a built-in row is overridden; without evidence of one's own it is refused, and what was typed stays
    await row(page, "files-api").locator("a[href*='edit=']").click();
    await page.waitForURL(/edit=/);
    await page.selectOption("#f-act", "keep");
    await page.fill("#f-model", "claude-opus-5*");
    await page.locator("#form form").evaluate((f) => { f.noValidate = true; });
    await page.locator("#form .btn-primary").click();
    await page.locator("#f-evidence-hint .invalid-feedback").waitFor();
    assert.match(await page.locator("#f-evidence-hint").innerText(), missing);
    assert.equal(await page.inputValue("#f-model"), "claude-opus-5*");
    nothing(await audit(page));
    assert.equal(await overflow(page), "");
    p.clean("a refused row", /status of 400/);
    await page.fill("#f-model", "*");
    await page.fill("#f-evidence", "release notes <b>2027</b>");
    await page.keyboard.press("Enter");
    await said(page).waitFor();
    assert.match(page.url(), /kind=beta/, "the filter is lost");
    assert.deepEqual((await own()).map((r) => [r.name, r.action, r.replaces]), [["files-api-2025-04-14", "keep", true]]);
    assert.match(await row(page, "files-api").innerText(), /<b>2027<\/b>/);
    nothing(await audit(page));
    // one of one's own, by the keyboard
    await page.goto(server.url + "/admin/bedrock?source=operator");
    await page.locator("#f-kind").focus();
    await page.selectOption("#f-kind", "field");
    await page.fill("#f-name", "tools[].brand_new");
    await page.selectOption("#f-act", "drop");
    await page.fill("#f-unless", "one-flag\nother-flag");
    await page.fill("#f-evidence", "400, 2027-01-02");
    await page.keyboard.press("Enter");
    await said(page).waitFor();
    assert.deepEqual((await own()).find((r) => r.kind === "field").unless, ["one-flag", "other-flag"]);
    await row(page, "brand_new").locator("a[href*='edit=']").click();
    await page.waitForURL(/edit=/);
    await page.fill("#f-name", "tools[].newer");
    await page.locator("#form .btn-primary").click();
    await said(page).waitFor();
    await page.waitForLoadState();
    assert.deepEqual((await own()).map((r) => r.name).sort(), ["files-api-2025-04-14", "tools[].newer"]);
    // back to built-in asks for the name
    await row(page, "files-api").locator("[data-open]").click();
    const dialog = page.locator("dialog[open]");
    await dialog.locator("[name=confirm]").fill("another");
    await dialog.locator(".btn-danger").click();
    await page.locator("main [role=alert]").waitFor();
    await page.waitForLoadState(); // a button that opens a dialog does so once the page's scripts are there
    assert.equal((await own()).length, 2);
    await row(page, "files-api").locator("[data-open]").click();
    nothing(await audit(page, "dialog[open]"));
    await page.locator("dialog[open] [name=confirm]").fill("files-api-2025-04-14");
    await page.locator("dialog[open] .btn-danger").click();
    await said(page).waitFor();
    assert.deepEqual((await own()).map((r) => r.name), ["tools[].newer"]);
    // and those that are ticked go by the word
    await page.goto(server.url + "/admin/bedrock?source=operator");
    await page.locator("[data-all=bulk]").check();
    await page.locator("details summary.btn-outline-danger").click();
    await page.fill("#bulk-confirm", word);
    await page.locator("button[name=what][value=delete]").click();
    await said(page).waitFor();
    assert.deepEqual(await own(), []);
    p.clean("the table", /status of 400/);
    await p.close();
  });
}

test("a link with a key: at once without a session, asked first with another's, wherever it comes from", async () => {
  const site = createServer((req, res) => { res.setHeader("content-type", "text/html"); res.end(`<a href="${server.url}/admin?admin_key=${tenantKey}">prize</a><img src="${server.url}/admin?admin_key=${tenantKey}">`); });
  await new Promise((done) => site.listen(0, done));
  site.unref();
  const me = async (p) => (await (await p.context.request.get(server.url + "/admin/api/me")).json()).account_name;
  const token = async (p) => (await p.context.cookies(server.url)).find((c) => c.name === "session_token")?.value;
  try {
    const fresh = await person(browser, server.url);
    await fresh.page.goto(`${server.url}/admin?admin_key=${tenantKey}`);
    assert.equal(fresh.page.url(), server.url + "/admin");
    assert.equal(await me(fresh), "tenant");
    assert.equal(await fresh.page.evaluate(() => document.referrer), "");
    await fresh.close();
    for (const [host, lang, width] of [["localhost", "en-US", 1440], ["127.0.0.1", "zh-CN", 360]]) { // another site, and another origin of the same
      const stranger = await person(browser, server.url);
      await stranger.page.goto(`http://${host}:${site.address().port}/`);
      await stranger.page.waitForLoadState("networkidle");
      assert.equal(await token(stranger), undefined, `a picture on ${host} signs in`);
      await stranger.close();
      const p = await person(browser, server.url, { as: admin, lang, width }), { page } = p, before = await token(p), was = await me(p);
      await page.goto(`http://${host}:${site.address().port}/`);
      p.faults.length = 0; // of that page
      await page.locator("a").click();
      await page.locator("main form:not([action])").waitFor();
      assert.equal(await token(p), before, "the session was replaced without asking");
      assert.ok((await page.locator("main").innerText()).includes(was));
      assert.ok(!(await page.content()).includes(tenantKey), "the page repeats the key");
      nothing(await audit(page));
      assert.equal(await overflow(page), "");
      await page.locator("main a.btn-primary").click();
      await page.waitForURL(server.url + "/admin");
      assert.equal(await token(p), before);
      await page.goto(`${server.url}/admin?admin_key=${tenantKey}`);
      await page.locator("main form:not([action]) button").click();
      await page.waitForURL(server.url + "/admin");
      assert.equal(await me(p), "tenant");
      p.clean("the link");
      await p.close();
    }
  } finally { site.close(); }
});
