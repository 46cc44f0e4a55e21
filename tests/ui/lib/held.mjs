// What every page is held to. pages.test.mjs and tenant.test.mjs open them.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { audit, crawl, overflow, person } from "./browser.mjs";

const inChinese = (lang) => lang.startsWith("zh");

// of a narrow window: what depends on what is shown, and where. The other rules say the same of every width.
const shown = ["aria-hidden-focus", "button-name", "color-contrast", "label", "link-in-text-block", "link-name", "nested-interactive", "scrollable-region-focusable", "select-name", "target-size"];

// held looks at a page as it was loaded in a narrow window, light or dark, and then in a wide one. It tells all that is wrong at
// once.
export async function held(p, href, r, { lang, colorScheme }, wrong) {
  const { page } = p;
  const tell = (what) => wrong.push(`${lang}, ${colorScheme}, ${page.viewportSize().width} px ${href.slice(p.url.length)}: ${what}`);
  if (r.status() !== 200) tell(`status ${r.status()}`);
  const facts = await page.evaluate(() => ({ h1: document.querySelectorAll("h1").length, lang: document.documentElement.lang, theme: document.documentElement.dataset.bsTheme, inline: document.querySelectorAll("[style], script:not([src])").length, marks: /\?\?|%!|<no value>|ZgotmplZ|\[object |\bNaN\b|\bundefined\b/.exec(document.body.innerText)?.[0] }));
  if (facts.h1 !== 1) tell(`${facts.h1} h1`);
  if (facts.lang !== (inChinese(lang) ? "zh-CN" : "en")) tell(`its language is ${facts.lang}`);
  if (facts.marks) tell(`shows ${facts.marks}`);
  if (facts.theme !== colorScheme) tell(`it is ${facts.theme}`);
  for (const v of await audit(page, undefined, shown)) tell(v);
  for (const width of lang === "en-US" ? [390, 360, 768, 1024, 1280, 1440] : [390, 360, 1440]) { // English words are the longer ones
    await page.setViewportSize({ width, height: 900 });
    const over = await overflow(page);
    if (over) tell(`scrolls sideways by ${over}`);
  }
  for (const v of await audit(page)) tell(v);
  await page.setViewportSize({ width: 390, height: 900 });
  for (const f of p.faults.splice(0)) tell(f);
}

// all holds every page that someone finds to that, and returns the addresses.
export async function all(browser, url, as, how, deep = true) {
  const p = await person(browser, url, { as, width: 390, ...how }), wrong = [];
  const hrefs = await crawl(p.page, url, { deep, see: (page, href, r) => held(p, href, r, how, wrong) });
  await p.close();
  return { hrefs, wrong };
}

// registered are the paths of the console's own list of pages; {id} stands for one of many.
export function registered() {
  const dir = new URL("../../../shared/adminui/", import.meta.url), sources = readdirSync(dir).filter((f) => f.endsWith(".go") && !f.endsWith("_test.go")).map((f) => readFileSync(new URL(f, dir), "utf8")).join("\n");
  const value = (name) => JSON.parse(name.startsWith('"') ? name : (new RegExp(`\\b${name}\\s*=\\s*("/[^"]*")`).exec(sources) ?? assert.fail("no constant " + name))[1]);
  return [...sources.matchAll(/\{path: ((?!v\.)[^,]+), title:/g)].map((m) => m[1].split("+").map((part) => value(part.trim())).join(""));
}
