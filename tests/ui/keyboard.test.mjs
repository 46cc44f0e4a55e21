// What Enter and the arrows do in lists and in filters that submit by themselves.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { open, person } from "./lib/browser.mjs";
import { adminKey, must, startLab, startServer } from "./lib/server.mjs";

let lab, server, browser;
before(async () => {
  lab = await startLab();
  server = await startServer(lab);
  browser = await open();
  for (const name of ["tenant-a", "tenant-b", "tenant-c"]) await must(server.api, "POST", "/admin/api/accounts", { name, proxy_api_key: `ui-${name}-0123456789` });
});
after(async () => { await browser?.close(); await server?.stop(); await lab?.stop(); });

const lists = {
  keys: {
    make: async (name) => (await must(server.api, "POST", "/admin/api/keys", { name })).id,
    find: async (id) => (await must(server.api, "GET", "/admin/api/keys")).keys.find((k) => k.id === id),
    button: "button[form=bulk][value=revoke]", off: (k) => k.revoked,
  },
  nodes: { // the first button enables, so what it must not touch is disabled
    make: async (name) => {
      const { id } = await must(server.api, "POST", "/admin/api/nodes", { name, base_url: lab.anthropic });
      await must(server.api, "POST", "/admin/api/nodes/disable", { id });
      return id;
    },
    find: async (id) => (await must(server.api, "GET", "/admin/api/nodes")).nodes.find((n) => n.id === id),
    button: "button[form=bulk][value=enable]", off: (n) => !n.disabled,
  },
};

for (const [list, { make, find, button, off }] of Object.entries(lists)) for (const scripts of [true, false]) {
  test(`${list}, ${scripts ? "with" : "without"} scripts: Enter does not do what the first button says`, async () => {
    const id = await make(`enter-${list}-${scripts}`), untouched = await find(id);
    assert.ok(untouched && !off(untouched), JSON.stringify(untouched));
    const p = await person(browser, server.url, { as: { admin_key: adminKey }, javaScriptEnabled: scripts }), { page } = p, sent = [];
    page.on("request", (r) => { if (r.method() === "POST") sent.push(r.url()); });
    await page.goto(`${server.url}/admin/${list}`);
    const box = page.locator(`input[name=ids][value="${id}"]`), word = page.locator("#bulk-confirm");
    await box.check();
    await box.press("Enter");
    await page.locator("details:has(#bulk-confirm) > summary").click();
    await word.fill("delete");
    await box.press("Enter"); // also where the word is there
    if (scripts) {
      assert.deepEqual(sent, [], "Enter on a box sent something");
      assert.deepEqual(await find(id), untouched);
      await word.press("Enter");
      await page.locator("main [role=status].alert-success").waitFor();
      assert.equal(await find(id), undefined, "Enter after the word did not delete");
    } else {
      await word.press("Enter");
      await new Promise((done) => setTimeout(done, 500)); // nothing tells of what does not come
      assert.deepEqual(sent, [], "Enter sent something");
      assert.deepEqual(await find(id), untouched);
      await page.locator(button).click(); // the buttons work as before
      await page.locator("main [role=status].alert-success").waitFor();
      assert.ok(off(await find(id)));
    }
    p.clean(list);
    await p.close();
  });
}

test("shares, whose one button revokes: Enter on a box does not, though the word is there, and after the word it does", async () => {
  const { id } = await must(server.api, "POST", "/api/monitor/shares", { expire_in: "24h" });
  const p = await person(browser, server.url, { as: { admin_key: adminKey } }), { page } = p, sent = [];
  page.on("request", (r) => { if (r.method() === "POST") sent.push(r.url()); });
  await page.goto(server.url + "/admin/monitor/shares");
  const box = page.locator(`input[name=ids][value="${id}"]`), word = page.locator("#bulk-confirm");
  await box.check();
  await page.locator("details:has(#bulk-confirm) > summary").click();
  await word.fill("delete");
  await box.press("Enter");
  await new Promise((done) => setTimeout(done, 300));
  assert.deepEqual(sent, [], "Enter on a box sent something");
  await word.press("Enter");
  await page.locator("main [role=status].alert-success").waitFor();
  assert.equal(sent.length, 1);
  assert.equal(await box.count(), 0, "it is not revoked");
  p.clean("shares");
  await p.close();
});

test("a filter that submits by itself can be gone through by the arrows", async () => {
  const p = await person(browser, server.url, { as: { admin_key: adminKey } }), { page } = p, loads = [];
  page.on("framenavigated", (f) => loads.push(f.url()));
  const select = page.locator("#account"), fresh = async () => { await page.goto(server.url + "/admin/keys"); await select.focus(); loads.length = 0; };
  const named = () => select.evaluate((s) => s.selectedOptions[0].text);
  const steps = async (...keys) => { for (const k of keys) await page.keyboard.press(k); await new Promise((done) => setTimeout(done, 300)); };
  const loaded = async (why) => {
    await page.waitForURL(/account_id=[^&]/, { timeout: 5000 }).catch(() => assert.fail(`${why}: the page is not loaded`));
    await page.waitForLoadState();
    assert.equal(loads.length, 1, `${why}: ${loads}`);
  };

  await fresh();
  const first = await named();
  await steps("ArrowDown", "ArrowDown", "ArrowDown");
  assert.deepEqual(loads, [], "an arrow loads the page");
  const third = await named();
  assert.notEqual(third, first);
  await steps("Enter");
  await loaded("Enter");
  assert.equal(await named(), third);

  await fresh();
  await steps("ArrowDown", "ArrowDown", "Tab");
  await loaded("leaving");

  await fresh();
  await steps("ArrowDown", "ArrowUp", "Tab");
  assert.deepEqual(loads, [], "what is as it was is loaded anew");

  await fresh();
  await steps("ArrowDown"); // by key, and then by pointer
  await select.dispatchEvent("pointerdown");
  await select.selectOption({ label: "tenant-c" });
  await loaded("a choice by pointer");
  assert.equal(await named(), "tenant-c");

  await fresh();
  await select.selectOption({ label: "tenant-b" });
  await loaded("a choice without keys");
  p.clean("arrows");
  await p.close();
});
