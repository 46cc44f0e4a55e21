// Capture of an account's bodies by its form: turned on until a time of the reader's zone, and off; what was kept is linked after it ended.
// And secrets of a refused form.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { audit, nothing, open, person } from "./lib/browser.mjs";
import { field, fill, fits, form, row, say, submit, told } from "./lib/forms.mjs";
import { ask } from "./lib/seed.mjs";
import { adminKey, must, proxyKey, startLab, startServer } from "./lib/server.mjs";

let lab, server, browser;
before(async () => {
  lab = await startLab();
  server = await startServer(lab);
  await must(server.api, "POST", "/admin/api/nodes", { name: "claude", base_url: lab.anthropic, api_key: "sk-ant-fake" });
  browser = await open();
});
after(async () => { await browser?.close(); await server?.stop(); await lab?.stop(); });

const capture = async () => (await must(server.api, "GET", "/admin/api/accounts?id=default")).accounts[0].capture;
const zone = "Asia/Tokyo"; // nine hours before UTC all the year
const typed = (at) => new Date(at + 9 * 3_600_000).toISOString().slice(0, 16);

for (const [lang, width] of [["en-US", 1440], ["zh-CN", 360]]) test(`${lang}, ${width} px: bodies are kept for a while, and linked afterwards`, async () => {
  const p = await person(browser, server.url, { as: { admin_key: adminKey }, lang, width, timezoneId: zone }), { page } = p;
  const until = Math.floor(Date.now() / 60_000) * 60_000 + 3_600_000, asked = `asked in ${lang}`;
  await page.goto(server.url + "/admin"); // a browser's first page tells its zone
  await page.goto(server.url + "/admin/tenants?edit=default");
  await page.check("#capture [name=enabled]");
  await fill(page, { until: "2020-01-01T00:00", redact: "case-\\d+, a b\n(x)" });
  await submit(form(page, "capture"));
  await page.locator("#f-until-hint .invalid-feedback").waitFor();
  assert.equal(await field(page, "redact").inputValue(), "case-\\d+, a b\n(x)", "the form lost its input");
  nothing(await audit(page));
  await fits(page, "the form of capture");
  p.clean("a refused form", /status of 400/);
  await fill(page, { until: typed(until), keep_days: "2" });
  await submit(form(page, "capture"));
  await told(page, lang, "tenants.saved", "default");
  const now = await capture();
  assert.deepEqual([now.enabled, Date.parse(now.until), now.keep_days, now.redact], [true, until, 2, ["case-\\d+, a b", "(x)"]]);
  assert.match(await row(page, "default").innerText(), new RegExp(say(lang, "tenants.captured")));
  await ask(server.url, proxyKey, "claude-sonnet-4-5", asked);

  await page.goto(server.url + "/admin/tenants?edit=default");
  assert.equal(await field(page, "until").inputValue(), typed(until));
  await page.uncheck("#capture [name=enabled]");
  await submit(form(page, "capture"));
  await told(page, lang, "tenants.saved", "default");
  assert.equal((await capture()).enabled, false);
  await page.goto(server.url + "/admin/usage?span=1h");
  await page.locator("#log tbody [data-open]").first().click();
  await page.locator("dialog[open] a[href*='/admin/usage/']").click();
  await page.locator("pre.body", { hasText: asked }).waitFor();
  p.clean("capture");
  await p.close();
});

test("without CAPTURE_URL the page says why there is no form", async () => {
  const none = await startServer(lab, { CAPTURE_URL: "" });
  try {
    const p = await person(browser, none.url, { as: { admin_key: adminKey } });
    await p.page.goto(none.url + "/admin/tenants?edit=default");
    assert.match(await p.page.locator("#capture").innerText(), /CAPTURE_URL/);
    assert.equal(await p.page.locator("#capture form").count(), 0);
    await p.close();
  } finally { await none.stop(); }
});

test("a refused form says which secrets are to be typed again", async () => {
  const p = await person(browser, server.url, { as: { admin_key: adminKey }, lang: "zh-CN" }), { page } = p;
  const again = say("zh-CN", "form.again"), at = (name) => page.locator(`#f-${name}-hint .invalid-feedback`);
  await page.goto(server.url + "/admin/tenants");
  await fill(page, { name: "default", password: "typed password", proxy_api_key: "typed-key-0123456789" });
  await submit(form(page, "create"));
  for (const name of ["password", "proxy_api_key"]) assert.equal(await at(name).innerText(), again);
  await page.goto(server.url + "/admin/notifications?new=webhook");
  await fill(page, { name: "hook", url: "ftp://x", secret: "typed-secret" });
  await submit(form(page, "create"));
  assert.equal(await at("secret").innerText(), again);
  assert.ok(!(await page.content()).includes("typed-"), "a secret came back");
  p.clean("refused forms", /status of 400/);
  await p.close();
});
