// Every page as a tenant finds it, the pages without a session, and a gateway that holds nothing yet.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { nothing, open, person } from "./lib/browser.mjs";
import { all, held } from "./lib/held.mjs";
import { seed, tenantPassword } from "./lib/seed.mjs";
import { adminKey, startLab, startServer } from "./lib/server.mjs";

let lab, server, seeded, browser;
before(async () => {
  lab = await startLab();
  server = await startServer(lab);
  seeded = await seed(server, lab);
  browser = await open();
});
after(async () => { await browser?.close(); seeded?.closed(); await server?.stop(); await lab?.stop(); });

for (const [lang, colorScheme] of [["en-US", "light"], ["zh-CN", "dark"]]) test(`tenant, ${lang}, ${colorScheme}`, async () => {
  const { hrefs, wrong } = await all(browser, server.url, { username: "tenant", password: tenantPassword }, { lang, colorScheme });
  nothing(wrong);
  assert.ok(hrefs.length >= 25, `only ${hrefs.length} pages: ${hrefs}`);
});

test("pages without a session", async () => {
  for (const lang of ["en-US", "zh-CN"]) for (const colorScheme of ["light", "dark"]) {
    const p = await person(browser, server.url, { lang, colorScheme, width: 390 }), wrong = [];
    for (const href of [server.url + "/login", seeded.accounts.default.share.share_url.replace(/^https?:\/\/[^/]+/, server.url)])
      await held(p, href, await p.page.goto(href), { lang, colorScheme }, wrong);
    await p.close();
    nothing(wrong);
  }
});

test("an empty gateway", async () => {
  const empty = await startServer(lab);
  try {
    const { hrefs, wrong } = await all(browser, empty.url, { admin_key: adminKey }, { lang: "en-US", colorScheme: "light" }, false); // its forms are those of a full one
    nothing(wrong);
    assert.ok(hrefs.length >= 12, `only ${hrefs.length} pages: ${hrefs}`);
  } finally { await empty.stop(); }
});
