// Writes a picture of every page, so that a person can look: both languages, wide and narrow, light and dark, as
// administrator and as tenant. shots.mjs DIR
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { crawl, open, person, shape } from "./lib/browser.mjs";
import { seed, tenantPassword } from "./lib/seed.mjs";
import { adminKey, startLab, startServer } from "./lib/server.mjs";

const dir = resolve(process.env.INIT_CWD ?? process.cwd(), process.argv[2] || "shots");
const lab = await startLab(), server = await startServer(lab), seeded = await seed(server, lab), browser = await open();
let n = 0;
const name = (href) => shape(href, server.url).replace(/^\//, "").replace(/[^a-z0-9.]+/gi, "-").replace(/^-|-$/g, "") || "root";
const shoot = async (p, href, ...into) => {
  await p.page.goto(href);
  await p.page.waitForTimeout(150);
  const at = join(dir, ...into);
  mkdirSync(at, { recursive: true });
  await p.page.screenshot({ path: join(at, name(href) + ".png"), fullPage: true });
  n++;
};
try {
  for (const [role, as] of Object.entries({ administrator: { admin_key: adminKey }, tenant: { username: "tenant", password: tenantPassword }, nobody: undefined })) {
    let hrefs = [server.url + "/login", seeded.accounts.default.share.share_url.replace(/^https?:\/\/[^/]+/, server.url)];
    if (as) {
      const p = await person(browser, server.url, { as });
      hrefs = await crawl(p.page, server.url);
      await p.close();
    }
    for (const [lang, width, colorScheme] of [["en-US", 1440, "light"], ["zh-CN", 1440, "dark"], ["en-US", 390, "dark"], ["zh-CN", 390, "light"]]) {
      const p = await person(browser, server.url, { as, lang, width, colorScheme });
      for (const href of hrefs) await shoot(p, href, role, `${lang}-${width}`);
      await p.close();
    }
  }
  console.log(`${n} pictures in ${dir}`);
} finally {
  await browser.close();
  seeded.closed();
  await server.stop();
  await lab.stop();
}
process.exit(0);
