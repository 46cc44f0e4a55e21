// The browser, and what every page is held to in it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const open = (...more) => chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [...more, "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"] });

// person opens a browser of its own on a gateway, signed in if it says who: {admin_key} or {username, password}.
export async function person(browser, url, { lang = "en-US", width = 1440, height = 900, as, ...more } = {}) {
  const context = await browser.newContext({ locale: lang, viewport: { width, height }, reducedMotion: "reduce", ...more }); // a colour on its way to another is no fault
  if (as) {
    const r = await context.request.post(url + "/login", { form: as, maxRedirects: 0 });
    assert.equal(r.status(), 303, `login: ${r.status()} ${await r.text()}`);
  }
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const host = new URL(url).host;
  const faults = [];
  page.on("console", (m) => { if (m.type() === "error") faults.push(`console: ${m.text()} (${m.location().url})`); });
  page.on("pageerror", (e) => faults.push("script: " + e.message));
  page.on("request", (r) => { const u = new URL(r.url()); if (u.host !== host && !["data:", "about:", "blob:"].includes(u.protocol)) faults.push("request to another host: " + r.url()); });
  return { context, page, url, faults,
    close: () => context.close(),
    // clean expects that nothing went wrong so far but what is allowed
    clean(why, allowed) {
      nothing(faults.splice(0).filter((f) => !allowed?.test(f)).map((f) => `${why}: ${f}`));
    } };
}

// audit runs axe, or some of its rules, and tells the serious and the critical.
export async function audit(page, within, rules) {
  const cdp = await page.context().newCDPSession(page);
  try {
    await cdp.send("Runtime.evaluate", { expression: `window.axe || (() => { ${axe} })()` }); // the page's policy allows no script of others
    const options = { resultTypes: ["violations"], ...(rules && { runOnly: { type: "rule", values: rules } }) };
    const run = `axe.run(${within ? JSON.stringify(within) : "document"}, ${JSON.stringify(options)}).then((r) => r.violations.filter((v) => v.impact === "serious" || v.impact === "critical")
      .map((v) => v.id + ": " + v.help + "\\n    " + v.nodes.slice(0, 3).map((n) => n.target.join(" ") + "  " + n.html.slice(0, 160) + (n.any[0] ? "  " + n.any[0].message : "")).join("\\n    ")))`;
    const r = await cdp.send("Runtime.evaluate", { expression: run, awaitPromise: true, returnByValue: true });
    if (r.exceptionDetails) throw new Error(r.exceptionDetails.exception?.description ?? "axe failed");
    return r.result.value;
  } finally { await cdp.detach(); }
}

// overflow is how many pixels of the page stand out to the right, and what does. Tables of figures may scroll within it; lists
// that are made for narrow windows, and those with buttons in their rows, may not: nobody would find the buttons.
export const overflow = (page) => page.evaluate(async () => {
  const measure = () => {
    const wide = document.documentElement.clientWidth, over = document.documentElement.scrollWidth - wide;
    const lists = [...document.querySelectorAll(".table-responsive")].filter((e) => e.clientWidth && e.scrollWidth > e.clientWidth + 1 && (e.querySelector(":scope > .table-mobile-md") || [...e.querySelectorAll("tbody .btn")].some((b) => !b.closest("dialog"))));
    if (over <= 0) return lists.map((e) => `${e.scrollWidth - e.clientWidth} px within ${(e.closest("[id]")?.id ?? "")} .${e.firstElementChild.className.replaceAll(" ", ".")}`).join(", ");
    const out = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > wide + 1 && !e.closest(".table-responsive, .nav-scroll, pre")).slice(0, 4);
    return `${over} px: ` + out.map((e) => e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + "." + e.className).join(", ");
  };
  for (const began = performance.now(); ;) {
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))); // the styles of another width take a frame, or more where much else is done
    const over = measure();
    if (!over || performance.now() - began > 3000) return over;
  }
});

// menu are the paths of the menu.
export const menu = (page) => page.locator("aside nav a").evaluateAll((as) => as.map((a) => a.getAttribute("href")));

// shape is what pages have in common that differ by ids and values alone. A list that is narrowed down twice is none of its
// own: it has the parts of the two.
export function shape(href, base) {
  const u = new URL(href, base), choices = ["tab", "new", "add", "do"];
  let names = [...u.searchParams.keys()].filter((k) => k !== "account_id").sort();
  if (names.some((k) => !choices.includes(k))) names = [names.find((k) => k === "edit") ?? names.find((k) => k === "id") ?? names.find((k) => !choices.includes(k)), ...names.filter((k) => u.pathname.endsWith("/notifications") && k === "tab")];
  const q = names.map((k) => k + "=" + (choices.includes(k) ? u.searchParams.get(k) : "*"));
  return u.pathname.replace(/\/(\d+|[a-z]+[-_][0-9a-z]+|[0-9a-f]{8,})(?=\/|$)/g, "/{id}") + (q.length ? "?" + q.join("&") : "");
}

// links are the pages that links on a page lead to: other tabs, forms, single things. Other orders and other pages of a list
// are none.
export const links = async (page, url) => (await page.locator("main a[href]").evaluateAll((as) => as.map((a) => a.href)))
  .filter((h) => h.startsWith(url + "/admin") && !/[?&](sort|page|span|done|cursor|q|state)=/.test(h)).map((h) => h.split("#")[0]);

const most = 100; // pages; more of them are rather a shape that tells what is the same apart

// crawl finds one page of each shape, from the menu on; if it is not to go deep, those of the menu alone.
export async function crawl(page, url, { see = async () => {}, deep = true } = {}) {
  await page.goto(url + "/admin");
  const todo = (await menu(page)).map((h) => new URL(h, url).href), found = new Map();
  while (todo.length) {
    const href = todo.shift(), key = shape(href, url);
    if (found.has(key)) continue;
    found.set(key, href);
    assert.ok(found.size <= most, `more than ${most} pages: ${[...found.keys()].join(" ")}`);
    const r = await page.goto(href);
    if (!(r.headers()["content-type"] ?? "").startsWith("text/html")) { found.delete(key); continue; }
    await see(page, href, r);
    if (deep) todo.push(...await links(page, url));
  }
  return [...found.values()];
}

// nothing expects an empty list of faults, and tells each once.
export const nothing = (wrong) => { if (wrong.length) assert.fail(`${wrong.length} faults:\n` + [...new Set(wrong)].join("\n")); };
