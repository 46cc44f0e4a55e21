// The pages "client setup" and "playground". A key that is typed there stays in this page: it is put into texts that are shown,
// and sent as the header of a request to the gateway.
(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);

  // client setup: the key takes its place in the texts; one that would have to be escaped somewhere does not
  const fill = () => {
    const input = document.querySelector("[data-key]");
    if (!input) return;
    const key = input.value.trim(), ok = /^[\w.~+\/=:@-]*$/.test(key);
    input.classList.toggle("is-invalid", !ok);
    document.querySelector("[data-key-bad]").classList.toggle("d-block", !ok);
    for (const el of document.querySelectorAll("[data-text]")) el.textContent = ok && key ? el.dataset.text.replaceAll(input.dataset.key, key) : el.dataset.text;
  };
  document.addEventListener("input", (e) => { if (e.target.matches("[data-key]")) fill(); });
  document.addEventListener("htmx:after:swap", fill);
  fill(); // the browser may have kept what was typed
  document.addEventListener("click", (e) => {
    const b = e.target.closest("[data-download]");
    if (!b) return;
    const a = Object.assign(document.createElement("a"), { href: URL.createObjectURL(new Blob([$(b.dataset.download).textContent])), download: b.dataset.name });
    a.click();
    setTimeout(() => URL.revokeObjectURL(a.href), 60000);
  });

  // playground
  const form = $("play");
  if (!form) return;
  const words = form.dataset, out = (name) => document.querySelector(`[data-out="${name}"]`);
  const number = new Intl.NumberFormat(document.documentElement.lang), ms = (n) => (n < 1000 ? `${Math.round(n)} ms` : `${(n / 1000).toFixed(2)} s`);
  const tell = (name, value) => { if (value !== undefined && value !== null && value !== "") out(name).textContent = typeof value === "number" ? number.format(value) : value; };
  const state = (text) => { $("play-state").textContent = text; };
  const problem = (text) => { $("play-error").textContent = text; $("play-error").hidden = !text; };
  let running = null;
  form.querySelector("fieldset").disabled = false;

  const requestOf = (key) => {
    const chat = $("play-dialect").value === "chat", system = $("play-system").value.trim(), stream = $("play-stream").checked;
    const body = { model: $("play-model").value.trim(), max_tokens: Number($("play-max").value), messages: [{ role: "user", content: $("play-prompt").value }], stream };
    if (chat) {
      if (system) body.messages.unshift({ role: "system", content: system });
      if (stream) body.stream_options = { include_usage: true };
    } else if (system) body.system = system;
    const headers = { "content-type": "application/json", ...(chat ? { authorization: `Bearer ${key}` } : { "x-api-key": key, "anthropic-version": "2023-06-01" }) };
    return { path: chat ? "/v1/chat/completions" : "/v1/messages", headers, body: JSON.stringify(body), chat };
  };

  // what an answer, or an event of it, tells in either dialect
  const usage = (u) => {
    if (!u) return;
    const read = u.cache_read_input_tokens ?? u.prompt_tokens_details?.cached_tokens;
    if (u.input_tokens !== undefined) tell("input", u.input_tokens + (u.cache_read_input_tokens || 0) + (u.cache_creation_input_tokens || 0));
    tell("input", u.prompt_tokens);
    tell("cached", read);
    tell("output", u.output_tokens ?? u.completion_tokens);
  };
  const add = (name, text) => { if (text) out(name).append(text); if (text && name === "thinking") $("play-thought").hidden = false; };
  const message = (e) => (typeof e === "string" ? e : e?.message) || words.failed;
  const event = (d) => {
    if (d.error) { problem(message(d.error)); return; }
    tell("model", d.model ?? d.message?.model);
    usage(d.usage); usage(d.message?.usage);
    if (d.type === "content_block_start") { add("text", d.content_block?.text); add("thinking", d.content_block?.thinking); }
    if (d.delta) { add("text", d.delta.text); add("thinking", d.delta.thinking); }
    for (const c of d.choices ?? []) { const m = c.delta ?? c.message; add("text", m?.content); add("thinking", m?.reasoning_content); }
    for (const b of d.type === "message" ? d.content ?? [] : []) { add("text", b.text); add("thinking", b.thinking); }
    return d.type === "message_stop" || d.type === "message";
  };

  const readStream = async (r, began) => {
    const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "", whole = false;
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return whole;
      if (out("first").textContent === "–") tell("first", ms(performance.now() - began));
      held += value;
      const lines = held.split("\n");
      held = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data:")) continue;
        const data = line.slice(5).trim();
        if (data === "[DONE]") whole = true;
        else { try { whole = event(JSON.parse(data)) || whole; } catch { /* no event of ours */ } }
      }
    }
  };

  // what the request cost is in the log a moment after its end
  const lookUp = async (id) => {
    for (let i = 0; id && i < 6; i++) {
      await new Promise((done) => setTimeout(done, 300 + 400 * i));
      try {
        const r = await fetch(`${words.logs}?limit=50`, { headers: { accept: "application/json" } });
        const row = r.ok && (await r.json()).logs.find((l) => l.request_id === id);
        if (row) return row;
      } catch { /* once more */ }
    }
    return null;
  };

  const send = async (ask, url, stop) => {
    const began = performance.now();
    const r = await fetch(url, { method: "POST", headers: ask.headers, body: ask.body, credentials: "omit", redirect: "error", referrerPolicy: "no-referrer", signal: stop.signal });
    const id = r.headers.get("request-id") ?? r.headers.get("x-request-id");
    tell("status", String(r.status)); tell("node", r.headers.get("x-proxy-node")); tell("request", id);
    let whole = true;
    try {
      if ((r.headers.get("content-type") ?? "").startsWith("text/event-stream")) {
        state(words.streaming);
        whole = await readStream(r, began);
      } else {
        const text = await r.text();
        tell("first", ms(performance.now() - began));
        let d = null;
        try { d = JSON.parse(text); } catch { /* below */ }
        if (d && r.ok) event(d); else problem(d ? message(d.error) : text.slice(0, 2000) || words.failed);
        if (!r.ok) state(words.failed);
      }
      if (!whole && $("play-error").hidden) problem(words.broken);
      state(r.ok && $("play-error").hidden ? words.ended : words.failed);
    } finally {
      tell("total", ms(performance.now() - began));
    }
    return id;
  };

  const cost = async (id) => {
    if (!id) return;
    tell("cost", words.looking);
    const row = await lookUp(id);
    if (!row || out("request").textContent !== id) { if (out("request").textContent === id) tell("cost", words.unlogged); return; }
    tell("cost", row.cost_usd === null || row.cost_usd === undefined ? words.unpriced : `$${row.cost_usd.toFixed(6)}`);
    tell("attempts", row.attempts); tell("node", row.node_name); tell("model", row.served_model || row.model_id);
    tell("input", row.input_tokens); tell("output", row.output_tokens);
  };

  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    if (running) return;
    for (const el of document.querySelectorAll("[data-out]")) el.textContent = el.matches("dd") ? "–" : "";
    $("play-thought").hidden = $("play-instead").hidden = true;
    problem("");
    const ask = requestOf($("play-key").value.trim());
    let url;
    try { url = new URL(($("play-url").value.trim() || location.origin + words.base).replace(/\/+$/, "").replace(/\/v1$/, "") + ask.path); } catch { problem(words.address); return; }
    if (!/^https?:$/.test(url.protocol)) { problem(words.address); return; }
    if (url.origin !== location.origin) {
      problem(words.elsewhere.replace("{0}", location.origin));
      const shell = requestOf("$SLUICE_KEY"), quote = (t) => `'${t.replaceAll("'", "'\\''")}'`;
      $("play-instead").textContent = [`curl -N ${quote(url.href)}`, ...Object.entries(shell.headers).map(([k, v]) => `  -H "${k}: ${v}"`), `  -d ${quote(shell.body)}`].join(" \\\n");
      $("play-instead").hidden = false;
      state(words.failed);
      return;
    }
    running = new AbortController();
    const stop = running, [sendButton, stopButton] = ["send", "stop"].map((n) => form.querySelector(`[data-play="${n}"]`));
    sendButton.disabled = true; stopButton.disabled = false;
    state(words.waiting);
    let id = null;
    try {
      id = await send(ask, url, stop);
    } catch (err) {
      id = out("request").textContent;
      if (id === "–") id = null;
      if (stop.signal.aborted) state(words.stopped);
      else if (err instanceof TypeError && /header|ByteString|ISO/i.test(err.message)) { problem(words.badkey); state(words.failed); }
      else { problem(id ? words.broken : words.unreached); state(words.failed); }
    } finally {
      running = null;
      sendButton.disabled = false; stopButton.disabled = true;
    }
    cost(id);
  });
  form.querySelector('[data-play="stop"]').addEventListener("click", () => running?.abort());
  addEventListener("pagehide", () => { running?.abort(); $("play-key").value = ""; });
})();
