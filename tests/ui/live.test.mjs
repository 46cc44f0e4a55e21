// What happens on a page that stays open: nodes that appear, a session that ends, a server that stops; and what is seen
// before a page is whole.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { audit, nothing, open, person } from "./lib/browser.mjs";
import { adminKey, api, must, startLab, startServer } from "./lib/server.mjs";

let lab, server, browser, hosts;
before(async () => {
  lab = await startLab();
  server = await startServer(lab);
  browser = await open();
  hosts = { streamed: { url: server.url, streams: true }, buffered: { url: lab.lambda, streams: false } };
  for (const h of Object.values(hosts)) {
    h.api = api(h.url);
    await must(h.api, "POST", "/admin/api/nodes", { name: "first-node", base_url: lab.anthropic });
  }
});
after(async () => { await browser?.close(); await server?.stop(); await lab?.stop(); });

const admin = { admin_key: adminKey }, patience = { timeout: 30_000 };
const isPart = (r) => r.headers()["hx-request"] === "true" && r.method() === "GET";

// watched opens a page whose live part has begun, and marks the document, so that a reload would show.
async function watched(host, path, as = admin, more) {
  const p = await person(browser, host.url, { as, ...more }), { page } = p;
  p.parts = [];
  page.on("request", (r) => { if (isPart(r)) p.parts.push(r.url()); });
  const begun = host.streams && page.waitForResponse((r) => isPart(r.request()) && /^text\/event-stream/.test(r.headers()["content-type"])); // what else follows a page comes when it comes
  await page.goto(host.url + path);
  const r = await begun;
  if (host.streams) {
    assert.equal(r.headers()["cache-control"], "no-store");
    assert.equal(r.headers()["x-accel-buffering"], "no");
  }
  await page.evaluate(() => { window.same = true; });
  return p;
}

// they wait rather than work
describe("a page that stays open", { concurrency: 4 }, () => {
  for (const kind of ["streamed", "buffered"]) {
    test(`${kind}: a node that the API makes appears on the open page, keeps what is typed there, and goes again`, async () => {
      const host = hosts[kind], p = await watched(host, "/admin/nodes"), { page } = p;
      const search = page.locator("main input[name=q]").first();
      await search.fill("typed");
      await search.focus();
      const { id } = await must(host.api, "POST", "/admin/api/nodes", { name: `late-${kind}`, base_url: lab.anthropic });
      const row = page.locator("main tbody tr", { hasText: `late-${kind}` });
      await row.waitFor(patience);
      assert.ok(await page.evaluate(() => window.same), "the page was loaded anew");
      assert.equal(await search.inputValue(), "typed");
      assert.ok(await search.evaluate((e) => e === document.activeElement), "the focus is elsewhere");
      assert.ok(p.parts.length > 0 && p.parts.every((u) => new URL(u).searchParams.has("stream") === host.streams), `it came by ${p.parts}`);
      nothing(await audit(page));
      await must(host.api, "DELETE", `/admin/api/nodes?id=${id}`);
      await row.waitFor({ state: "detached", ...patience });
      if (host.streams) assert.equal(p.parts.length, 1, "more than one stream was opened");
      p.clean(kind);
      await p.close();
    });

    test(`${kind}: a logout in another tab sends the open page to the login`, async () => {
      const host = hosts[kind], p = await watched(host, "/admin/nodes"), other = await p.context.newPage();
      await other.goto(host.url + "/admin/about");
      await other.locator("form[action$='/logout'] button").click();
      await other.waitForURL(host.url + "/login");
      await p.page.waitForURL((u) => u.pathname.endsWith("/login"), patience);
      await p.page.locator("#admin_key").waitFor();
      p.clean(kind, /status of 401|net::ERR_ABORTED/);
      await p.close();
    });

    test(`${kind}: the end of an account sends its open page to the login`, async () => {
      const host = hosts[kind], { id } = await must(host.api, "POST", "/admin/api/accounts", { name: `gone-${kind}`, password: "gone password 1" });
      const p = await watched(host, "/admin", { username: `gone-${kind}`, password: "gone password 1" }, { lang: "zh-CN", width: 390 });
      await must(host.api, "DELETE", `/admin/api/accounts?id=${id}`);
      await p.page.waitForURL((u) => u.pathname.endsWith("/login"), patience);
      p.clean(kind, /status of 401|net::ERR_ABORTED/);
      await p.close();
    });
  }

  // htmx looks at the page before it has an extension whose script comes later
  test("streamed: a live part begins however late one script comes after the other", async () => {
    const p = await person(browser, server.url, { as: admin }), { page } = p;
    let late = 0;
    await page.route(/\.js$/, async (route) => { await new Promise((done) => setTimeout(done, late += 300)); await route.continue(); });
    const begun = page.waitForResponse((r) => isPart(r.request()));
    await page.goto(server.url + "/admin/nodes");
    assert.match((await begun).headers()["content-type"], /^text\/event-stream/);
    assert.ok(late >= 1200, "the page has fewer scripts than were held");
    p.clean("late scripts");
    await p.close();
  });

  test("a share that is revoked empties the open wall", async () => {
    const share = await must(server.api, "POST", "/api/monitor/shares", { expire_in: "24h" });
    const p = await person(browser, server.url), { page } = p;
    await page.goto(share.share_url.replace(/^https?:\/\/[^/]+/, server.url));
    await page.locator("main", { hasText: "first-node" }).waitFor();
    await must(server.api, "DELETE", `/api/monitor/shares/${share.id}`);
    await page.waitForFunction(() => !document.body.innerText.includes("first-node"), undefined, patience);
    p.clean("a revoked share", /status of 404/);
    await p.close();
  });
});

for (const signal of ["SIGINT", "SIGTERM"]) test(`${signal} ends the server while pages are open, and waits for none of them`, async () => {
  const own = await startServer(lab, { DRAIN_TIMEOUT: "120s" });
  await must(own.api, "POST", "/admin/api/nodes", { name: "first-node", base_url: lab.anthropic });
  const pages = [];
  for (const path of ["/admin", "/admin/nodes", "/admin/monitor"]) pages.push(await watched({ url: own.url, streams: true }, path));
  const began = performance.now(), code = await own.stop(signal), took = performance.now() - began;
  assert.equal(code, 0, own.said());
  assert.ok(took < 60_000, `it took ${Math.round(took)} ms`);
  for (const p of pages) {
    assert.ok(await p.page.locator("h1").isVisible(), "the page is gone");
    await p.close();
  }
});

test("the theme is there before anything is seen", async () => {
  for (const [system, chosen, want] of [["dark", "", "dark"], ["light", "", "light"], ["light", "dark", "dark"], ["dark", "light", "light"]]) {
    const p = await person(browser, server.url, { as: admin, colorScheme: system }), { page } = p;
    await page.addInitScript((theme) => {
      if (theme) localStorage.setItem("sluice-theme", theme);
      window.seen = [];
      const look = (when) => window.seen.push(`${when} ${document.documentElement.dataset.bsTheme}`);
      document.addEventListener("load", (e) => { if (e.target.localName === "link") look("stylesheet"); }, true);
      const frame = () => { if (document.body) look("frame"); if (document.readyState !== "complete") requestAnimationFrame(frame); };
      requestAnimationFrame(frame);
    }, chosen);
    for (const path of ["/admin/nodes", "/login"]) {
      await page.goto(server.url + path);
      const seen = await page.evaluate(() => window.seen);
      assert.ok(seen.some((s) => s.startsWith("stylesheet")), "no stylesheet was seen");
      assert.deepEqual(seen.filter((s) => !s.endsWith(" " + want)), [], `system ${system}, chosen ${chosen || "nothing"}`);
    }
    p.clean("the theme");
    await p.close();
  }
});

test("an overview of more accounts than it looks at at once tells of the others, too, and of one which nodes served it", async () => {
  const own = await startServer(lab), call = api(own.url);
  try {
    const ids = [];
    for (let i = 0; i < 24; i++) ids.push((await must(call, "POST", "/admin/api/accounts", { name: `team-${i}`, password: "a password of it" })).id);
    const { id } = await must(call, "POST", `/admin/api/nodes?account_id=${ids[22]}`, { name: "far-away", base_url: "http://127.0.0.1:1" });
    await must(call, "PUT", `/admin/api/config?account_id=${ids[22]}`, { fail_limit: 1 });
    assert.equal((await must(call, "POST", "/admin/api/nodes/check", { id })).state, "failed");
    const p = await person(browser, own.url, { as: admin, lang: "zh-CN", width: 390 }), { page } = p;
    await page.goto(own.url + "/admin");
    await page.locator("#others", { hasText: "25 / 25" }).waitFor(patience);
    await page.locator("#others li", { hasText: "far-away" }).waitFor();
    assert.match(await page.locator("#others li", { hasText: "far-away" }).innerText(), /team-22.*故障/);
    assert.equal(await page.locator("#bynode").count(), 0);
    nothing(await audit(page));
    await page.goto(`${own.url}/admin?account_id=${ids[22]}`);
    await page.locator("#bynode table").waitFor(patience);
    nothing(await audit(page));
    p.clean("other accounts");
    await p.close();
  } finally { await own.stop(); }
});
