// Names and errors that are markup, in every field that takes one: shown as text, and nothing of them runs.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { crawl, menu, nothing, open, person, shape } from "./lib/browser.mjs";
import { seed, tenantPassword } from "./lib/seed.mjs";
import { adminKey, must, startLab, startServer } from "./lib/server.mjs";

// name leaves a text, an attribute in either quotes, a script's text, a title, a text field and a comment; kept short, since
// names are
const name = (what) => `${what}'"--></title></textarea></script><x-pwn onclick=x>{{.}}`;

let lab, browser;
before(async () => { lab = await startLab(); browser = await open(); });
after(async () => { await browser?.close(); await lab?.stop(); });

// planted is what the page would hold if any of it had become markup.
const planted = (page) => page.evaluate(() => {
  const out = [];
  for (const e of document.querySelectorAll("*")) {
    if (e.localName === "x-pwn" || (e.localName === "img" && e.getAttribute("src") === "x")) out.push("<" + e.localName + ">");
    for (const a of e.attributes) {
      if (a.name.startsWith("on") || a.name.startsWith("hx-on")) out.push(`${e.localName} ${a.name}`);
      if (["href", "src", "action", "formaction", "hx-get", "hx-post"].includes(a.name) && /^\s*(javascript|data|vbscript):/i.test(a.value)) out.push(`${e.localName} ${a.name}=${a.value.slice(0, 60)}`);
    }
  }
  return out;
});

test("names that are markup, in every field that takes one", async () => {
  const server = await startServer(lab);
  let seeded;
  try {
    seeded = await seed(server, lab, { name, error: name("upstream") });
    // an address that is a script, wherever one is taken
    for (const base_url of ["javascript:alert(1)", "data:text/html,<x-pwn>"]) {
      const r = await server.api("POST", "/admin/api/nodes", { name: "address", base_url });
      assert.equal(r.status, 400, `${base_url}: ${r.status} ${r.text}`);
    }
    // what clients send: names of programs, of sessions, of models; and a login that fails, whose name is not kept
    const strange = { "user-agent": name("program"), "x-claude-code-session-id": name("session") };
    await fetch(server.url + "/login", { method: "POST", headers: strange, body: new URLSearchParams({ username: name("stranger"), password: "x" }) });
    await fetch(server.url + "/v1/messages", { method: "POST", headers: { ...strange, "x-api-key": seeded.accounts.default.key, "content-type": "application/json" }, body: JSON.stringify({ model: name("claude-model"), max_tokens: 1, messages: [{ role: "user", content: name("prompt") }] }) });
    const wrong = [];
    let shown = "";
    for (const as of [{ admin_key: adminKey }, { username: name("tenant"), password: tenantPassword }]) {
      const p = await person(browser, server.url, { as });
      p.page.on("dialog", (d) => { wrong.push("a dialog: " + d.message()); void d.dismiss(); });
      const look = async (page, href) => {
        await page.locator("[data-open]").evaluateAll((bs) => { for (const b of bs) { document.getElementById(b.dataset.open).showModal(); document.getElementById(b.dataset.open).close(); } });
        for (const w of await planted(page)) wrong.push(`${href}: ${w}`);
        shown += await page.evaluate(() => document.body.textContent + [...document.querySelectorAll("input, textarea")].map((e) => e.value).join("\n"));
      };
      const hrefs = await crawl(p.page, server.url, { see: look, deep: "admin_key" in as }); // a tenant has the same pages with less on them
      assert.ok(hrefs.length > ("admin_key" in as ? 30 : 8), `only ${hrefs.length} pages`);
      // a search that is markup comes back in its field, in the links of the heads and of the pager
      await p.page.goto(server.url + "/admin");
      for (const href of await menu(p.page)) {
        const u = new URL(href, server.url);
        u.searchParams.set("q", name("search"));
        u.searchParams.set("sort", name("sort"));
        const r = await p.page.goto(u.href);
        assert.ok(r.status() < 500, `${u}: ${r.status()}`);
        for (const w of await planted(p.page)) wrong.push(`${u.pathname} with a search: ${w}`);
      }
      for (const f of p.faults.splice(0)) if (!/status of 4\d\d/.test(f)) wrong.push(f); // a policy that had to step in is a fault, too
      await p.close();
    }
    const share = await person(browser, server.url);
    await share.page.goto(seeded.accounts.default.share.share_url.replace(/^https?:\/\/[^/]+/, server.url));
    for (const w of await planted(share.page)) wrong.push("share: " + w);
    await share.close();
    nothing(wrong);
    // or the test would pass on names that nobody shows
    for (const what of ["default-claude", "default-notes", "default-ci", "default-description", "tenant", "default-hook", "default-rule", "pool", "pool-notes", "default-title", "default-price", "program", "row-message", "row-evidence"])
      assert.ok(shown.includes(name(what)), `${what} is on no page as it was written`);
    assert.ok(["prompt", "other-asked"].some((what) => shown.includes(JSON.stringify(name(what)).slice(1, -1))), "no captured body is on a page as it was sent");
  } finally { seeded?.closed(); await server.stop(); }
});

test("hostile input comes back as text where a form is refused", async () => {
  const server = await startServer(lab);
  try {
    const p = await person(browser, server.url, { as: { admin_key: adminKey } });
    const wrong = [];
    await must(server.api, "POST", "/admin/api/nodes", { name: "n", base_url: lab.anthropic });
    // the forms that take a text, one of each kind
    const forms = new Map(), takers = (page) => page.locator("main form[method=post]:not(dialog form):not([enctype='multipart/form-data']):has(input:not([type=hidden], [type=checkbox], [type=radio], [type=file]), textarea)");
    await crawl(p.page, server.url, { see: async (page, href) => {
      for (const [i, action] of (await takers(page).evaluateAll((fs) => fs.map((f) => f.action))).entries()) {
        const kind = shape(action, server.url);
        if (!forms.has(kind) || /new=|add=/.test(href)) forms.set(kind + (/new=|add=/.test(href) ? shape(href, server.url) : ""), [href, i]);
      }
    } });
    for (const [kind, [href, i]] of forms) {
      await p.page.goto(href);
      // every field is filled with markup; what the browser itself would refuse is sent all the same
      await takers(p.page).nth(i).evaluate((x, bad) => { x.noValidate = true; for (const e of x.elements) if (e.matches("input:not([type=checkbox], [type=radio], [type=hidden], [type=file]), textarea")) { e.type = e.localName === "input" ? "text" : e.type; e.value = e.name + bad; } }, `"><x-pwn>'`);
      await Promise.all([p.page.waitForNavigation(), takers(p.page).nth(i).evaluate((x) => HTMLFormElement.prototype.submit.call(x))]);
      for (const w of await planted(p.page)) wrong.push(`${href} ${kind}: ${w}`);
    }
    assert.ok(forms.size >= 15, `only ${forms.size} forms: ${[...forms.keys()]}`);
    for (const f of p.faults.splice(0)) if (!/status of 4\d\d/.test(f)) wrong.push(f);
    await p.close();
    nothing(wrong);
  } finally { await server.stop(); }
});
