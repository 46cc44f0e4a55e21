// The same pages as a function answers them: in one piece, behind an API whose addresses begin with a stage.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { crawl, menu, nothing, open, person } from "./lib/browser.mjs";
import { seed, tenantPassword } from "./lib/seed.mjs";
import { adminKey, api, startLab } from "./lib/server.mjs";

let lab, seeded, browser;
before(async () => {
  lab = await startLab();
  seeded = await seed({ url: lab.lambda, api: api(lab.lambda) }, lab);
  browser = await open();
});
after(async () => { await browser?.close(); seeded?.closed(); await lab?.stop(); });

const host = () => lab.lambda.replace(/\/[^/]+$/, ""), prefix = () => new URL(lab.lambda).pathname;

for (const [role, as] of Object.entries({ administrator: { admin_key: adminKey }, tenant: { username: "tenant", password: tenantPassword } })) test(`pages for the ${role}`, async () => {
  const p = await person(browser, lab.lambda, { as }), wrong = [];
  p.page.on("request", (r) => { if (r.url().startsWith(host()) && !new URL(r.url()).pathname.startsWith(prefix() + "/")) wrong.push("a request beside the stage: " + r.url()); });
  await p.page.goto(lab.lambda + "/admin");
  assert.ok((await menu(p.page)).every((h) => h.startsWith(prefix() + "/")), "the menu leads out of the stage");
  const hrefs = await crawl(p.page, lab.lambda, { deep: role === "administrator", see: async (page, href, r) => {
    if (r.status() !== 200) wrong.push(`${href}: ${r.status()}`);
    if (r.headers()["content-encoding"] !== "gzip") wrong.push(`${href} is not compressed`);
    const bare = await page.evaluate((pre) => [...document.querySelectorAll("[href], [action], [src], [hx-get], [hx-post], [hx-sse\\:connect]")].flatMap((e) => ["href", "action", "src", "hx-get", "hx-post", "hx-sse:connect"].map((a) => e.getAttribute(a))).filter((v) => v?.startsWith("/") && !v.startsWith(pre + "/")), prefix());
    if (await page.locator("[hx-sse\\:connect]").count()) wrong.push(`${href} waits for a stream`);
    if (bare.length) wrong.push(`${href} leads out of the stage: ${bare}`);
  } });
  assert.ok(hrefs.length > (role === "administrator" ? 30 : 8), `only ${hrefs.length} pages`);
  wrong.push(...p.faults.splice(0));
  await p.close();
  nothing(wrong);
});

test("login, a form, language, logout", async () => {
  const p = await person(browser, lab.lambda), { page } = p;
  await page.goto(lab.lambda + "/admin/keys");
  assert.ok(page.url().startsWith(lab.lambda + "/login"), page.url());
  await page.fill("#admin_key", adminKey);
  await page.locator("form:has(#admin_key) button").click();
  await page.waitForURL(lab.lambda + "/admin/keys");
  const session = (await p.context.cookies()).find((c) => c.name === "session_token");
  assert.equal(session.path, prefix(), "the session goes to other stages, too");
  await page.fill("#f-name", "密钥 буфер");
  await page.locator("main form[action*='do=create'] button.btn-primary").click();
  assert.ok((await page.locator("#once").innerText()).length > 8);
  await page.goto(lab.lambda + "/admin/keys");
  assert.match(await page.locator("main").innerText(), /密钥 буфер/);
  await page.locator("header form[action*='do=language'] button").click();
  await page.waitForFunction(() => document.documentElement.lang === "zh-CN");
  assert.equal(page.url(), lab.lambda + "/admin/keys");
  await page.locator("form[action$='/logout'] button").click();
  await page.waitForURL(lab.lambda + "/login");
  p.clean("the adapter");
  await p.close();
});
