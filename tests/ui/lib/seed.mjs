// What a gateway in use holds, made by its own API.
import { createServer } from "node:http";
import { must, proxyKey } from "./server.mjs";

export const tenantPassword = "tenant password 1";

// seed fills a gateway: two tenants beside the default account, each with nodes, keys, channels, rules and requests. name
// makes each name that a person may choose.
export async function seed(server, lab, { name = (what) => what, error = "overloaded: try later" } = {}) {
  const { api, url, captures } = server;
  const bad = createServer((_, res) => { res.writeHead(500, { "content-type": "application/json" }); res.end(JSON.stringify({ type: "error", error: { type: "api_error", message: error } })); });
  await new Promise((done) => bad.listen(0, "127.0.0.1", done));
  bad.unref();
  const broken = `http://127.0.0.1:${bad.address().port}`;
  const out = { accounts: {}, closed: () => bad.close() };
  for (const who of ["default", "tenant", "other"]) {
    let id = "default";
    if (who !== "default") id = (await must(api, "POST", "/admin/api/accounts", { name: name(who), password: `${who} password 1`, proxy_api_key: `ui-${who}-key-0123456789`, response_days: 7 })).id;
    const of = `?account_id=${id}`;
    const made = { id, name: name(who), key: who === "default" ? proxyKey : `ui-${who}-key-0123456789`, nodes: [] };
    const node = async (body) => made.nodes.push((await must(api, "POST", "/admin/api/nodes" + of, body)).id);
    await node({ name: name(`${who}-claude`), base_url: lab.anthropic, api_key: "sk-ant-fake", notes: name(`${who}-notes`), weight: 1, models: ["claude-*"] });
    await node({ name: name(`${who}-openai`), kind: "openai", base_url: lab.openai + "/v1", api_key: "sk-fake", models: ["gpt-5.4"], weight: 2 });
    await node({ name: name(`${who}-broken`), base_url: broken, api_key: "sk-ant-fake", models: ["broken-*"], weight: 3, model_map: { "broken-map": "x" } });
    const key = await must(api, "POST", "/admin/api/keys" + of, { name: name(`${who}-ci`), description: name(`${who}-description`), usd_per_day: 5, requests_per_minute: 600, models: ["claude-*"] });
    made.keyID = key.id;
    await must(api, "POST", "/admin/api/keys" + of, { name: name(`${who}-manager`), scopes: ["inference", "nodes"] });
    const channel = await must(api, "POST", "/api/notification/channels" + of, { name: name(`${who}-hook`), channel_type: "webhook", config: { url: lab.hook + "/hook" } });
    made.channel = channel.id;
    await must(api, "POST", "/api/notification/subscriptions" + of, { channel_id: channel.id, event_types: ["node.failed", "alert.raised"] });
    made.rule = (await must(api, "POST", "/api/alerts/rules" + of, { name: name(`${who}-rule`), kind: "error_rate", threshold: 5, min_requests: 1 })).id;
    made.share = await must(api, "POST", "/api/monitor/shares", { expire_in: "24h", account_id: id });
    await api("POST", "/api/notification/test" + of, { channel_id: channel.id, title: name(`${who}-title`), content: name(`${who}-content`) });
    await api("POST", `/admin/api/nodes/check?id=${made.nodes[2]}`);
    await must(api, "POST", "/api/pricing", { model_id: `${who}-model`, model_name: name(`${who}-price`), input_price_mtok: 1, output_price_mtok: 2, account_id: id });
    if (captures) await must(api, "PUT", "/admin/api/accounts?id=" + id, { capture: { enabled: true, until: new Date(Date.now() + 86_400_000).toISOString().slice(0, 19) + "Z" } });
    for (const model of ["claude-sonnet-4-5", "claude-haiku-4-5", name("broken-model")]) await ask(url, made.key, model, name(`${who}-asked`));
    out.accounts[who] = made;
  }
  await must(api, "POST", "/api/compat/rows", { route: "invoke", model: "claude-*", kind: "beta", name: "some-flag-2027-01-01", action: "refuse", message: name("row-message"), evidence: name("row-evidence") });
  out.pool = (await must(api, "POST", "/admin/accounts", { name: name("pool"), notes: name("pool-notes"), ...lab.login })).id;
  return out;
}

// ask sends a request through the gateway; whether it succeeds does not matter.
export const ask = (url, key, model, content = "Hello") => fetch(url + "/v1/messages", { method: "POST", headers: { "x-api-key": key, "content-type": "application/json", "anthropic-version": "2023-06-01" },
  body: JSON.stringify({ model, max_tokens: 64, messages: [{ role: "user", content }] }) }).then((r) => r.text());
