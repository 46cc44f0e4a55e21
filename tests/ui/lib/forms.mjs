// Forms and lists as people find them: by what a form does, by the names of its fields and by what a row says; and what a
// page says in answer, in the reader's language.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { overflow } from "./browser.mjs";

export const chinese = /\p{Script=Han}/u;

const catalogue = Object.fromEntries(["en", "zh-CN"].map((l) => [l, JSON.parse(readFileSync(new URL(`../../../shared/adminui/locale/${l}.json`, import.meta.url), "utf8"))]));

// say are the console's words of a key.
export function say(lang, key, ...args) {
  const text = catalogue[lang.startsWith("zh") ? "zh-CN" : "en"][key] ?? assert.fail(`no words for ${key}`);
  return args.reduce((s, a, i) => s.replaceAll(`{${i}}`, a), text);
}

export const form = (page, act, within = "main") => page.locator(`${within} form[action*="do=${act}"]`);
export const row = (page, name) => page.locator("main tbody tr", { hasText: name });
export const field = (page, name) => page.locator(`main [id^="f-"][name="${name}"]`);

// reveal opens what something is folded away in, as a person does.
export async function reveal(at) {
  for (const d of (await at.locator("xpath=ancestor::details[not(@open)]").all())) await d.locator("> summary").click();
  return at;
}
export const press = async (at) => (await reveal(at)).click();

// fill fills in fields by their names, and chooses and ticks.
export async function fill(page, values) {
  for (const [name, value] of Object.entries(values)) {
    const at = await reveal(field(page, name));
    if (await at.evaluate((e) => e.tagName === "SELECT")) await at.selectOption(value); else await at.fill(value);
  }
}

export const submit = (f) => press(f.locator("button.btn-primary, button.btn-danger, button:not([type=button])").last());

// told waits until the page says that something was done, in the words of the reader's language. What is left out of the words
// may be anything.
export async function told(page, lang, key, ...args) {
  const words = say(lang, "done." + key, ...args), like = new RegExp(words.replace(/[.*+?^$()|[\]\\]/g, "\\$&").replace(/\{\d\}/g, ".*"));
  await page.locator('main [role="status"].alert-success', { hasText: like }).first().waitFor().catch(async () => assert.fail(`the page does not say "${words}", but ${JSON.stringify(await page.locator("main .alert:visible, main .invalid-feedback:visible").allInnerTexts())}`));
}

// complaint waits for what is wrong, which is said in the reader's language.
export async function complaint(page, lang) {
  const at = page.locator("main .invalid-feedback:visible, main [role=alert]:visible").first();
  await at.waitFor();
  const text = await at.innerText();
  assert.equal(chinese.test(text), lang.startsWith("zh"), `a complaint in another language: ${text}`);
}

// destroy goes through a dialog that asks for a name: a wrong one changes nothing.
export async function destroy(page, lang, name) {
  const at = page.url();
  for (const typed of ["another name", name]) {
    await press(row(page, name).locator("[data-open^=delete], [data-open^=end]"));
    await page.locator("dialog[open] [name=confirm]").fill(typed);
    await page.locator("dialog[open] button.btn-danger").click();
    if (typed === name) continue;
    await complaint(page, lang);
    await page.goto(at);
  }
}

// tickAll ticks the rows of those names.
export const tickAll = async (page, names) => { for (const n of names) await row(page, n).locator("input[name=ids]").check(); };

// bulkDelete destroys what is ticked: the reader's word for it is asked for, and another word changes nothing.
export async function bulkDelete(page, lang) {
  const confirm = page.locator("#bulk-confirm"), go = page.locator("button[form=bulk][value=delete]");
  for (const word of ["another word", say(lang, "list.bulk.word")]) {
    await (await reveal(confirm)).fill(word);
    await go.click();
    if (word === "another word") await complaint(page, lang);
  }
}

// fits expects that nothing stands out of the window.
export const fits = async (page, why) => assert.equal(await overflow(page), "", `${why}: the page scrolls sideways`);

// saved is the file that a link or a button gives.
export async function saved(page, at) {
  const [d] = await Promise.all([page.waitForEvent("download"), press(at)]);
  return { name: d.suggestedFilename(), text: readFileSync(await d.path(), "utf8") };
}

// table reads CSV (RFC 4180) into a list of objects by the names of the first line.
export function table(csv) {
  const rows = [[]];
  for (const [, quoted, plain, end] of csv.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|$)/g)) {
    rows.at(-1).push(quoted?.replaceAll('""', '"') ?? plain);
    if (end === "\r\n") rows.push([]);
    if (end === "") break;
  }
  const [names, ...rest] = rows.filter((r) => r.length > 1);
  return rest.map((r) => { assert.equal(r.length, names.length, `a line of another length: ${r}`); return Object.fromEntries(names.map((n, i) => [n, r[i]])); });
}

// clock is how a moment is written in a zone: parts of it that every way of writing it has.
export const clock = (page, iso, zone) => page.evaluate(([iso, timeZone]) => {
  const parts = (o) => Object.fromEntries(new Intl.DateTimeFormat(document.documentElement.lang, { ...o, timeZone }).formatToParts(new Date(iso)).map((p) => [p.type, p.value]));
  const at = parts({ year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "2-digit" });
  return { day: at.day, year: at.year, time: `${at.hour}:${at.minute}`, half: at.dayPeriod ?? "" };
}, [iso, zone]);

// inZone expects that a text names that moment of that zone.
export async function inZone(page, text, iso, zone) {
  const at = await clock(page, iso, zone);
  assert.match(text, new RegExp(`(^|\\D)0?${at.day}(\\D|$)`), `not the day of ${iso} in ${zone}: ${text}`);
  assert.match(text, new RegExp(`(^|\\D)0?${at.time}`), `not the time of ${iso} in ${zone}: ${text}`);
  assert.ok(text.includes(at.half), `not the half of the day of ${iso} in ${zone}: ${text}`);
}

// weigh counts the bytes that come over the wire from now on, as bench.mjs does.
export async function weigh(page) {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Network.enable");
  let bytes = 0;
  cdp.on("Network.loadingFinished", (e) => { bytes += e.encodedDataLength; });
  return () => bytes;
}

// aLogin signs in to the fake token service: what a file of accounts holds.
export async function aLogin(lab) {
  const post = async (path, body) => {
    const r = await fetch(lab.oidc + path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    assert.equal(r.status, 200, path);
    return r.json();
  };
  const grantType = "urn:ietf:params:oauth:grant-type:device_code";
  const { clientId, clientSecret } = await post("/client/register", { clientName: "ui", clientType: "public", grantTypes: [grantType, "refresh_token"], scopes: ["codewhisperer:completions"] });
  const { deviceCode, userCode } = await post("/device_authorization", { clientId, clientSecret, startUrl: "https://view.awsapps.com/start" });
  assert.equal((await fetch(`${lab.hook}/approve/${userCode}`, { method: "POST" })).status, 200);
  const { refreshToken } = await post("/token", { clientId, clientSecret, deviceCode, grantType });
  return { clientId, clientSecret, refreshToken };
}
