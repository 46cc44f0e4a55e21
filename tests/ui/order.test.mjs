// What a page does when something on the way to the console fails: rows that were put elsewhere, parts that are told again.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { nothing, audit, open, person } from "./lib/browser.mjs";
import { adminKey, api, must, startLab, startServer } from "./lib/server.mjs";

const names = ["n-1", "n-2", "n-3", "n-4"];
let lab, server, browser, hosts;
before(async () => {
  lab = await startLab();
  server = await startServer(lab);
  browser = await open();
  hosts = { streamed: { url: server.url, streams: true }, buffered: { url: lab.lambda, streams: false } };
  for (const h of Object.values(hosts)) {
    h.api = api(h.url);
    h.ids = {};
    for (const [i, name] of names.entries()) h.ids[name] = (await must(h.api, "POST", "/admin/api/nodes", { name, base_url: lab.anthropic, weight: i + 1 })).id;
  }
});
after(async () => { await browser?.close(); await server?.stop(); await lab?.stop(); });

const admin = { admin_key: adminKey }, patience = { timeout: 30_000 }, noise = /status of|net::ERR|htmx: htmx:(sse:)?error|TypeError: Failed to fetch/;
const kept = async (host) => (await must(host.api, "GET", "/admin/api/nodes")).nodes.sort((a, b) => a.weight - b.weight).map((n) => n.name);
const shown = (page) => page.locator("tbody[data-rows] strong").allInnerTexts();
const shows = (page, want) => page.waitForFunction((want) => [...document.querySelectorAll("tbody[data-rows] strong")].map((e) => e.innerText).join() === want, want.join(), patience);
const asked = (r) => r.request().headers()["hx-request"] === "true";

// nodes opens the nodes and waits until their live part has begun.
async function nodes(host, more) {
  const p = await person(browser, host.url, { as: admin, ...more }), { page } = p;
  const begun = host.streams && page.waitForResponse(asked, patience);
  await page.goto(host.url + "/admin/nodes");
  await begun;
  return p;
}

// drag puts a row below another one, by its handle.
async function drag(page, host, name, below) {
  const from = page.locator(`#node-${host.ids[name]} [data-handle]`), to = page.locator(`#node-${host.ids[below]}`);
  await from.scrollIntoViewIfNeeded();
  const a = await from.boundingBox();
  await page.mouse.move(a.x + a.width / 2, a.y + a.height / 2);
  await page.mouse.down();
  const b = await to.boundingBox();
  await page.mouse.move(b.x + 60, b.y + b.height - 4, { steps: 8 });
  await page.mouse.up();
}

const failures = { "an aborted request": (r) => r.abort(), "an empty 502": (r) => r.fulfill({ status: 502, body: "" }), "a 502 of JSON": (r) => r.fulfill({ status: 502, contentType: "application/json", body: `{"message":"Internal server error"}` }),
  "a page of something else": (r) => r.fulfill({ status: 200, contentType: "text/html", body: "<h1>Sign in to the network</h1>" }) };

describe("the order of nodes", { concurrency: 2 }, () => {
  for (const kind of ["streamed", "buffered"]) {
    test(`${kind}: a drag and the buttons save; what is not saved stands as before and says so`, async () => {
      const host = hosts[kind], p = await nodes(host), { page } = p, notice = page.locator("[data-notice=failed]");
      await shows(page, names);
      const saved = (do_) => page.waitForResponse((r) => r.request().method() === "POST" && r.url().includes(`do=${do_}`) && r.status() === 200);
      await Promise.all([saved("order"), drag(page, host, "n-1", "n-3")]);
      const dragged = ["n-2", "n-3", "n-1", "n-4"];
      await shows(page, dragged);
      assert.deepEqual(await kept(host), dragged);
      const up = page.locator(`#up-${host.ids["n-1"]}`);
      await up.focus();
      await Promise.all([saved("move"), page.keyboard.press("Enter")]);
      const moved = ["n-2", "n-1", "n-3", "n-4"];
      await shows(page, moved);
      assert.deepEqual(await kept(host), moved);
      assert.equal(await notice.count(), 0);
      p.clean("what is saved");
      for (const [why, answer] of Object.entries(failures)) {
        await page.route(/do=order/, answer);
        await page.route(/do=move/, answer);
        await drag(page, host, "n-2", "n-3");
        await notice.waitFor();
        assert.match(await notice.innerText(), /^The order is not saved: .*Try again\.$/, why);
        assert.deepEqual(await shown(page), moved, why);
        await page.unroute(/do=order/);
        await Promise.all([saved("order"), drag(page, host, "n-2", "n-1")]);
        await shows(page, ["n-1", "n-2", "n-3", "n-4"]);
        await notice.waitFor({ state: "detached" });
        await page.locator(`#down-${host.ids["n-1"]}`).click();
        await notice.waitFor();
        assert.deepEqual(await shown(page), names, why);
        await page.unroute(/do=move/);
        await Promise.all([saved("move"), page.locator(`#down-${host.ids["n-1"]}`).click()]);
        await shows(page, ["n-2", "n-1", "n-3", "n-4"]);
        await notice.waitFor({ state: "detached" });
      }
      assert.deepEqual(await kept(host), moved);
      p.clean("what is not saved", noise);
      await p.close();
    });
  }

  test("what is typed to confirm, and what is ticked, outlasts the live part's changes", async () => {
    const host = hosts.streamed, p = await nodes(host), { page } = p;
    await page.locator("tbody input[name=ids]").first().check();
    await page.locator("#live details > summary").click();
    await page.fill("#bulk-confirm", "del");
    const { id } = await must(host.api, "POST", "/admin/api/nodes", { name: "meanwhile", base_url: lab.anthropic, weight: 50 });
    await page.locator("tbody tr", { hasText: "meanwhile" }).waitFor(patience);
    assert.equal(await page.inputValue("#bulk-confirm"), "del");
    assert.ok(await page.locator("#bulk-confirm").evaluate((e) => e === document.activeElement), "the focus is elsewhere");
    assert.ok(await page.locator("tbody input[name=ids]").first().isChecked());
    assert.ok(await page.evaluate(() => document.querySelector("#bulk-confirm").compareDocumentPosition(document.querySelector("#live .card-footer")) & Node.DOCUMENT_POSITION_FOLLOWING), "the pager is above what is done with those chosen");
    await page.locator("button[form=bulk][value=delete]").click(); // by the wrong word: what was ticked still is, whatever the live part tells then
    await page.locator("main [role=alert]").waitFor();
    await must(host.api, "PUT", `/admin/api/nodes?id=${id}`, { name: "renamed" });
    await page.locator("tbody tr", { hasText: "renamed" }).waitFor(patience);
    assert.deepEqual(await page.locator("tbody input[name=ids]:checked").count(), 1);
    await must(host.api, "DELETE", `/admin/api/nodes?id=${id}`);
    p.clean("typed", /status of 400/);
    await p.close();
  });

  test("two drags of which the second is dropped before the first fails stand as before both", async () => {
    const host = hosts.buffered, p = await nodes(host, { lang: "zh-CN" }), { page } = p, was = await shown(page);
    let fail;
    const held = new Promise((done) => { fail = done; });
    await page.route(/do=order/, async (r) => { await held; await r.abort(); });
    await drag(page, host, was[0] === "n-2" ? "n-2" : was[0], was[2]);
    await drag(page, host, was[3], was[1]).catch(() => {});
    assert.notDeepEqual(await shown(page), was);
    fail();
    await page.locator("[data-notice=failed]", { hasText: "顺序未保存" }).waitFor();
    assert.deepEqual(await shown(page), was);
    p.clean("two drags", noise);
    await p.close();
  });
});

describe("a part that cannot be told", { concurrency: 3 }, () => {
  for (const kind of ["streamed", "buffered"]) for (const why of ["an empty 502", "a 502 of JSON", "an aborted request"]) {
    test(`${kind}: ${why} leaves what is shown, and says since when until the next good answer`, async () => {
      const host = hosts[kind], p = await person(browser, host.url, { as: admin }), { page } = p, notice = page.locator("[data-notice=stale]");
      const live = (u) => u.pathname.endsWith("/admin/nodes");
      let down = true;
      await page.route(live, (r) => (down && r.request().headers()["hx-request"] ? failures[why](r) : r.continue()));
      await page.goto(host.url + "/admin/nodes");
      await notice.waitFor(patience);
      assert.match(await notice.innerText(), /^Not up to date since \w+ \d+, \d{4}.*\. The page keeps trying\.$/);
      assert.equal((await shown(page)).length, names.length);
      nothing(await audit(page));
      const { id } = await must(host.api, "POST", "/admin/api/nodes", { name: `late ${why} ${kind}`, base_url: lab.anthropic, weight: 99 });
      down = false;
      await page.locator("tbody tr", { hasText: `late ${why} ${kind}` }).waitFor(patience);
      await notice.waitFor({ state: "detached" });
      await must(host.api, "DELETE", `/admin/api/nodes?id=${id}`);
      p.clean(why, noise);
      await p.close();
    });
  }

  test("a stream that breaks, and finds nobody, says since when", async () => {
    const own = await startServer(lab), p = await person(browser, own.url, { as: admin }), { page } = p, notice = page.locator("[data-notice=stale]");
    await must(own.api, "POST", "/admin/api/nodes", { name: "first", base_url: lab.anthropic });
    const begun = page.waitForResponse(asked, patience);
    await page.goto(own.url + "/admin/nodes");
    await begun;
    await own.stop();
    await notice.waitFor(patience);
    assert.ok(await page.locator("tbody tr", { hasText: "first" }).isVisible(), "what was shown is gone");
    p.clean("a broken stream", noise);
    await p.close();
  });

  test("a form's part that is not the console's takes no place", async () => {
    const p = await person(browser, server.url, { as: admin }), { page } = p;
    await page.goto(server.url + "/admin/setup");
    const was = await page.locator("#setup").innerText();
    await page.route(/do=show/, (r) => r.fulfill({ status: 502, body: "" }));
    await page.fill("#f-model", "gpt-5.4");
    await page.locator("#f-url").focus();
    await page.locator("[data-notice=failed]", { hasText: "The request failed. Try again." }).waitFor();
    assert.equal(await page.locator("#setup").innerText(), was);
    await page.unroute(/do=show/);
    await page.fill("#f-model", "gpt-5.5");
    await page.locator("#f-url").focus();
    await page.locator("[data-notice=failed]").waitFor({ state: "detached" });
    p.clean("a form's part", noise);
    await p.close();
  });
});
