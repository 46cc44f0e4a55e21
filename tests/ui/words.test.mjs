// Each word of the console in the reader's language: in Chinese what names, heads and labels things has Chinese in it, but for
// proper names; in English nothing has.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { crawl, nothing, open, person } from "./lib/browser.mjs";
import { chinese } from "./lib/forms.mjs";
import { seed, tenantPassword } from "./lib/seed.mjs";
import { adminKey, startLab, startServer } from "./lib/server.mjs";

// What people named is marked, and is no word of ours.
const mark = (what) => `«${what}»`, data = /«[^»]*»/g;

// Proper names are the same in both languages: products and their parts, protocols and formats, units, and what a program
// reads as it stands.
const names = ["Sluice", "Claude Code CLI", "Claude Code", "Claude", "Codex", "Cursor", "Kiro", "Slack", "Telegram", "Webhook", "Amazon SNS", "Amazon Q Developer", "Amazon Q", "Anthropic SDK", "OpenAI SDK", "Anthropic", "OpenAI", "Bedrock", "Windows", "PowerShell", "Python", "TypeScript", "Go", "curl",
  "OpenAI Base URL", "OpenAI API Key", "Start URL", "Profile ARN", // fields of Cursor and of AWS
  "API", "TLS", "STARTTLS", "Responses", "Messages", "Chat Completions", "InvokeModel", "CSV", "JSON", "JSONL",
  "Token", "p50", "p95", "Credit", // of Amazon Q's quota, as the service names it
  "default", "Unreleased", // an account's id and name; the changelog is in English
  "YOUR_KEY", "us-east-1", "sluice", "arn:aws:iam::123456789012:role/name", "node/5", "/v1/messages", "/v1/chat/completions", "~/.claude/settings.json", "~/.codex/config.toml"];
const proper = new RegExp(`(?<!\\p{L})(${names.toSorted((a, b) => b.length - a.length).map((n) => n.replace(/[.*+?^$()|[\]\\/]/g, "\\$&")).join("|")})(?!\\p{L})`, "gu");
const kinds = ["th", "button", "label", "span.badge", "h1", "h2", "h3", "option", "placeholder", "aria-label"];

let lab, server, seeded, browser;
before(async () => {
  lab = await startLab();
  server = await startServer(lab);
  seeded = await seed(server, lab, { name: mark });
  browser = await open();
});
after(async () => { await browser?.close(); seeded?.closed(); await server?.stop(); await lab?.stop(); });

// said are the words on a page that somebody chose for it: headings, heads of columns, labels, buttons, badges, options and
// what stands in empty fields; with those that only a screen reader says. What is closed or hidden is none, but dialogs are.
const said = (page) => page.evaluate(() => {
  for (const d of document.querySelectorAll("details, dialog")) d.open = true;
  const shown = (e) => e.checkVisibility({ visibilityProperty: true }) || e.tagName === "OPTION";
  const own = (e) => { const c = e.cloneNode(true); for (const x of c.querySelectorAll("input, textarea, select, time, code, [lang], .invalid-feedback")) x.remove(); return c.textContent; };
  const out = [];
  const add = (e, what, text) => { text = text?.replace(/\s+/g, " ").trim(); if (text && !e.closest("[lang]:not(html)")) out.push([what, text]); };
  for (const e of document.querySelectorAll("th, button, a.btn, summary, label, .badge, h1, h2, h3, option, dt, .form-hint, .nav-link, .subheader")) if (shown(e)) add(e, e.tagName.toLowerCase() + (e.matches("span.badge") ? ".badge" : ""), own(e));
  for (const e of document.querySelectorAll("[placeholder]")) if (shown(e)) add(e, "placeholder", e.placeholder);
  for (const e of document.querySelectorAll("[aria-label], [title]")) if (shown(e) && e.tagName !== "TIME") for (const n of ["aria-label", "title"]) add(e, n, e.getAttribute(n));
  return out;
});

// english is what an English reader gets of an address: all of it, but the name of the other language on its switch.
async function english(context, href) {
  const r = await context.request.get(href, { headers: { accept: "text/html", "accept-language": "en-US" } });
  assert.match(r.headers()["content-language"], /^en/, href);
  return (await r.text()).replace(/<button[^>]* lang="zh-CN">[^<]*<\/button>/, "");
}

describe("the words of every page, in both languages", { concurrency: 2 }, () => {
  for (const [role, as] of Object.entries({ administrator: { admin_key: adminKey }, tenant: { username: mark("tenant"), password: tenantPassword } })) test(role, async () => {
    const p = await person(browser, server.url, { as, lang: "zh-CN" }), wrong = new Map(), seen = new Set();
    const see = async ({ context, page }, href) => {
      const where = href.slice(server.url.length);
      for (const [what, text] of await said(page)) {
        const words = text.replace(data, "");
        if (chinese.test(words)) seen.add(what);
        else if (/\p{L}/u.test(words.replace(proper, ""))) wrong.set(`zh-CN, ${what}: ${text}`, where);
      }
      const han = /.{0,40}\p{Script=Han}.{0,40}/u.exec(await english(context, href));
      if (han) wrong.set(`en: ${han[0]}`, where);
    };
    await crawl(p.page, server.url, { see: (page, href) => see(p, href) });
    await p.close();
    const q = await person(browser, server.url, { lang: "zh-CN" }), { share_url } = seeded.accounts[role === "tenant" ? "tenant" : "default"].share;
    for (const href of [server.url + "/login", share_url.replace(/^https?:\/\/[^/]+/, server.url)]) { await q.page.goto(href); await see(q, href); }
    await q.close();
    nothing([...wrong].map(([what, where]) => `${what}   (${where})`));
    assert.deepEqual(kinds.filter((k) => !seen.has(k)), [], "the pages have none of these: nothing was looked at");
  });
});
