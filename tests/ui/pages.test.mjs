// Every page that the menu leads to, and what those lead to, as an administrator, in both languages, wide and narrow, light
// and dark; and what opens on them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { audit, crawl, nothing, open, person, shape } from "./lib/browser.mjs";
import { all, registered } from "./lib/held.mjs";
import { seed } from "./lib/seed.mjs";
import { adminKey, startLab, startServer } from "./lib/server.mjs";

let lab, server, seeded, browser;
before(async () => {
  lab = await startLab();
  server = await startServer(lab);
  seeded = await seed(server, lab);
  browser = await open();
});
after(async () => { await browser?.close(); seeded?.closed(); await server?.stop(); await lab?.stop(); });

const admin = { admin_key: adminKey };

for (const [lang, colorScheme] of [["en-US", "dark"], ["zh-CN", "light"]]) test(`administrator, ${lang}, ${colorScheme}`, async () => {
  const { hrefs, wrong } = await all(browser, server.url, admin, { lang, colorScheme });
  nothing(wrong);
  const seen = new Set(hrefs.map((h) => shape(h, server.url).split("?")[0]));
  const elsewhere = ["/login", "/monitor/share/{id}", "/changelog"]; // without a session, or the same as one below /admin
  const paths = registered();
  assert.ok(paths.length >= 20, `only ${paths.length} pages are known: ${paths}`);
  assert.deepEqual(paths.filter((x) => !seen.has(x) && !elsewhere.includes(x)), [], "nothing leads to these pages");
});

test("dialogs", async () => {
  const p = await person(browser, server.url, { as: admin });
  const wrong = [];
  let n = 0;
  await crawl(p.page, server.url, { see: async (page, href) => {
    const seen = new Set();
    for (const b of await page.locator("[data-open]").all()) {
      const id = await b.getAttribute("data-open"), kind = id.replace(/[-\d]+[a-z0-9]*$/, "");
      if (seen.has(kind) || !await b.isVisible()) continue;
      seen.add(kind);
      await b.click();
      const dialog = page.locator(`[id="${id}"]`);
      assert.ok(await dialog.evaluate((d) => d.open && d.matches(":modal")), `${href}: ${id} is no modal dialog`);
      for (const v of await audit(page, `[id="${id}"]`)) wrong.push(`${href} ${id}: ${v}`);
      await page.keyboard.press("Escape");
      assert.ok(!await dialog.evaluate((d) => d.open), `${href}: Escape leaves ${id} open`);
      assert.equal(await page.evaluate(() => document.activeElement?.dataset.open), id, `${href}: the focus does not return`);
      n++;
    }
  } });
  assert.ok(n >= 3, `only ${n} dialogs`);
  await p.close();
  nothing(wrong);
});

test("the settings tell their last changes, and lead to the audit log with these alone", async () => {
  for (const lang of ["en-US", "zh-CN"]) {
    const p = await person(browser, server.url, { as: admin, lang }), { page } = p;
    await page.goto(server.url + "/admin/settings");
    const was = Number(await page.inputValue("#f-retries")), next = was % 10 + 1;
    await page.fill("#f-retries", String(next));
    await page.locator("form[action*='do=save'] button").click();
    await page.locator("main [role=status]").waitFor();
    const first = page.locator("#history tbody tr").first();
    assert.match(await first.innerText(), /ADMIN_API_KEY/);
    assert.equal(await first.locator("ins").last().innerText(), String(next)); // by name, so retries are the last of them
    await page.locator("#history a").click();
    await page.waitForURL(/\/admin\/audit\?/);
    assert.deepEqual([...new Set(await page.locator(".audit tbody a code").allInnerTexts())], ["settings.update"]);
    p.clean("the settings' history");
    await p.close();
  }
});

test("the menu of a narrow window is closed until it is asked for", async () => {
  for (const width of [390, 360]) {
    const p = await person(browser, server.url, { as: admin, width }), { page } = p;
    await page.goto(server.url + "/admin/nodes");
    const here = page.locator("aside nav a[aria-current=page]"), brand = page.locator("aside summary");
    assert.ok(!await here.isVisible(), "it is open at first");
    await brand.focus();
    await page.keyboard.press("Enter");
    await here.waitFor();
    nothing(await audit(page, "aside"));
    await page.locator("aside nav a[href$='/admin/keys']").click();
    await page.waitForURL(server.url + "/admin/keys");
    await page.setViewportSize({ width: 1440, height: 900 });
    await here.waitFor();
    p.clean("the menu");
    await p.close();
  }
});

test("the menu of a low window can be reached to its end", async () => {
  const p = await person(browser, server.url, { as: admin, height: 500 });
  await p.page.goto(server.url + "/admin");
  const last = p.page.locator("aside nav a").last();
  await last.scrollIntoViewIfNeeded();
  const { y, height } = await last.boundingBox();
  assert.ok(y >= 0 && y + height <= 500, `the last entry ends at ${y + height}`);
  nothing(await audit(p.page, "aside"));
  await p.close();
});
