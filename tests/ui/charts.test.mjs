// Charts speak the page's language and the reader's zone, and draw nothing where there was nothing.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { open, person } from "./lib/browser.mjs";
import { ask } from "./lib/seed.mjs";
import { adminKey, must, proxyKey, startLab, startServer } from "./lib/server.mjs";

let lab, server, browser, node;
before(async () => {
  lab = await startLab();
  server = await startServer(lab);
  browser = await open();
  node = (await must(server.api, "POST", "/admin/api/nodes", { name: "n", base_url: lab.anthropic, api_key: "sk-ant-fake" })).id;
  await must(server.api, "POST", "/admin/api/nodes/check?id=" + node);
  await must(server.api, "POST", "/admin/api/nodes/disable", { id: node }); // a change, as a check that tells nothing new is not kept
  for (const until = Date.now() + 30_000; ;) { // and no node is checked twice in a moment
    await new Promise((done) => setTimeout(done, 500));
    if ((await server.api("POST", "/admin/api/nodes/check?id=" + node)).status === 200) break;
    assert.ok(Date.now() < until, "the node is not checked again");
  }
  const { checks } = await must(server.api, "GET", `/api/nodes/${node}/health-history`);
  assert.equal(checks.filter((c) => c.success).length, 2, JSON.stringify(checks));
  await must(server.api, "POST", "/admin/api/nodes/enable", { id: node });
  await must(server.api, "POST", "/admin/accounts", { name: "pool", ...lab.login });
  await ask(server.url, proxyKey, "claude-sonnet-4-5");
});
after(async () => { await browser?.close(); await server?.stop(); await lab?.stop(); });

// point puts the pointer at the right end of a chart until its legend tells of it: what is above may still move it.
async function point(page, id) {
  for (const until = Date.now() + 15_000; ;) {
    const box = await page.locator(`#${id} .u-over`).boundingBox();
    await page.mouse.move(box.x + box.width - 4, box.y + box.height / 2);
    await page.mouse.move(box.x + box.width - 3, box.y + box.height / 2);
    await new Promise((done) => setTimeout(done, 100));
    if (await page.locator(`#${id} .u-legend .u-value`).first().innerText() !== "–") return;
    assert.ok(Date.now() < until, "the legend says nothing");
  }
}

// chart opens a page and tells what its chart has written, and what its legend says under the pointer, at the right end.
async function chart(path, id, more) {
  const p = await person(browser, server.url, { as: { admin_key: adminKey }, ...more }), { page } = p;
  await page.addInitScript(() => {
    window.written = [];
    const { fillText } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) { window.written.push(String(text)); return fillText.call(this, text, ...rest); };
  });
  await page.goto(server.url + path);
  const over = page.locator(`#${id} .u-over`);
  await over.scrollIntoViewIfNeeded();
  await point(page, id);
  const value = page.locator(`#${id} .u-legend .u-value`);
  const said = { legend: await value.allInnerTexts(), written: await page.evaluate(() => window.written), data: JSON.parse(await page.getAttribute("#" + id, "data-chart")),
    colours: await page.evaluate((id) => {
      const of = (name) => { const c = document.createElement("canvas").getContext("2d"); c.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim(); c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data]; };
      const canvas = document.querySelector(`#${id} canvas`), { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const count = ([r, g, b]) => { let n = 0; for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200 && Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 12) n++; return n; };
      return { primary: count(of("--tblr-primary")), danger: count(of("--tblr-danger")) };
    }, id) };
  p.clean(path);
  await p.close();
  return said;
}

const zones = [["zh-CN", "Asia/Shanghai"], ["en-GB", "America/Los_Angeles"]];
const full = (lang, timeZone, seconds, time) => new Intl.DateTimeFormat(lang, { dateStyle: "medium", ...time, timeZone }).format(new Date(seconds * 1000));

for (const [locale, timezoneId] of zones) {
  const lang = locale.startsWith("zh") ? "zh-CN" : "en";
  test(`${locale}, ${timezoneId}: a node's latency is told in the reader's language and zone`, async () => {
    const c = await chart("/admin/nodes/" + node, "latency-chart", { lang: locale, timezoneId });
    assert.equal(c.legend[0], full(lang, timezoneId, c.data[0].at(-1), { timeStyle: "medium" }));
    assert.equal(c.written.find((s) => /\d(am|pm)\b|^\d{4}-\d\d-\d\d/.test(s)), undefined, c.written.join(" | "));
  });

  test(`${locale}, ${timezoneId}: days of Amazon Q accounts are those that the gateway counts by`, async () => {
    const c = await chart("/admin/accounts", "pool-chart", { lang: locale, timezoneId });
    assert.equal(c.legend[0], full(lang, "UTC", c.data[0].at(-1), {}));
    assert.equal(c.written.find((s) => /am|pm|:/.test(s)), undefined, c.written.join(" | "));
  });
}

test("no bar where there was no failure, and its number is 0", async () => {
  const c = await chart("/admin", "overview-chart", { lang: "en-US" });
  assert.ok(c.data[1].some((n) => n > 0) && c.data[2].every((n) => n === 0), JSON.stringify(c.data));
  assert.equal(c.legend[2], "0");
  assert.ok(c.colours.primary > 0, "no bar of requests is seen");
  assert.equal(c.colours.danger, 0, "what did not happen is drawn");
});

test("a live part that is told again keeps its chart: the legend under the pointer, and no chart is left behind", async () => {
  const p = await person(browser, server.url, { as: { admin_key: adminKey } }), { page } = p;
  await page.addInitScript(() => { // each chart listens to the window until it is destroyed
    window.charts = 0;
    for (const [name, by] of [["addEventListener", 1], ["removeEventListener", -1]]) {
      const was = EventTarget.prototype[name];
      EventTarget.prototype[name] = function (type, ...rest) { if (this === window && type === "dppxchange") window.charts += by; return was.call(this, type, ...rest); };
    }
  });
  const begun = page.waitForResponse((r) => /^text\/event-stream/.test(r.headers()["content-type"]));
  await page.goto(server.url + "/admin");
  await begun;
  await point(page, "overview-chart");
  const state = () => page.evaluate(() => {
    const el = document.querySelector("#overview-chart"), data = JSON.parse(el.dataset.chart);
    return { charts: window.charts, kept: el.firstChild.kept, legend: [...el.querySelectorAll(".u-value")].map((v) => v.textContent), sum: data[1].reduce((a, b) => a + b) };
  });
  await page.evaluate(() => { document.querySelector("#overview-chart").firstChild.kept = true; });
  const first = await state();
  for (let i = 1; i <= 2; i++) {
    await ask(server.url, proxyKey, "claude-sonnet-4-5");
    await page.waitForFunction((sum) => JSON.parse(document.querySelector("#overview-chart").dataset.chart)[1].reduce((a, b) => a + b) > sum, first.sum + i - 1, { timeout: 30_000 });
    await page.waitForFunction(() => { // it is drawn in a later frame
      const el = document.querySelector("#overview-chart");
      return el.querySelectorAll(".u-value")[1].textContent === JSON.parse(el.dataset.chart)[1].at(-1).toLocaleString("en-US");
    });
    const now = await state();
    assert.ok(now.kept, "another chart was drawn");
    assert.equal(now.charts, first.charts, "a chart was left behind");
    assert.notEqual(now.legend[0], "–", "the legend lost the pointer");
  }
  // another theme has other colours, and what is gone is let go of
  await page.locator("[data-theme-switch]").click();
  await page.locator("[data-theme-switch]").click();
  await page.waitForFunction(() => document.querySelectorAll("#overview-chart .u-wrap").length === 1 && !document.querySelector("#overview-chart").firstChild.kept);
  assert.equal((await state()).charts, first.charts, "the chart of another theme was left behind");
  await page.evaluate(() => { document.querySelector("#overview-chart").remove(); document.dispatchEvent(new Event("htmx:after:swap")); });
  assert.equal(await page.evaluate(() => window.charts), first.charts - 1, "a chart that is gone was left behind");
  p.clean("a live chart");
  await p.close();
});

test("a chart is as wide as its place when the window changes", async () => {
  const p = await person(browser, server.url, { as: { admin_key: adminKey }, width: 1440 }), { page } = p;
  await page.goto(server.url + "/admin/usage");
  await page.locator("[data-chart] .u-over").first().waitFor();
  for (const width of [360, 1440, 768]) {
    await page.setViewportSize({ width, height: 900 });
    await page.waitForFunction(() => [...document.querySelectorAll("[data-chart]")].every((el) => el.clientWidth === Math.round(el.querySelector(".u-wrap").getBoundingClientRect().width)), undefined, { timeout: 5000 }).catch(() => assert.fail(`${width} px: not as wide as its place`));
  }
  p.clean("widths");
  await p.close();
});
