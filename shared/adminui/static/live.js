// What becomes of the requests for parts of a page. An answer that is not the console's takes nobody's place: what is shown
// stays, and says since when. Rows that were dragged stand as they did before where their order was not saved.
(() => {
  "use strict";
  const words = document.querySelector("meta[name=sluice-words]").dataset, loaded = new Date();
  const moment = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "medium" });
  for (const b of document.querySelectorAll("[form=bulk]:checked")) b.checked = true; // now no news of its row takes the tick away

  // a word before what it is about: "stale" of what is asked for again and again, "failed" of what somebody did
  const said = { stale: new WeakMap(), failed: new WeakMap() };
  const unsay = (at, kind) => { said[kind].get(at)?.remove(); said[kind].delete(at); };
  const say = (at, kind, text) => {
    unsay(at, kind);
    const el = Object.assign(document.createElement("div"), { className: kind === "stale" ? "alert alert-warning" : "alert alert-danger", textContent: text });
    el.setAttribute("role", kind === "stale" ? "status" : "alert");
    el.dataset.notice = kind;
    at.before(el);
    said[kind].set(at, el);
  };

  const streams = (el) => el.hasAttribute("hx-sse:connect"), asks = (el) => streams(el) || /\bevery\b/.test(el.getAttribute("hx-trigger") ?? "");
  const good = new WeakMap(); // when a part that is polled was told last; of a stream the break is seen at once
  const stale = (el) => {
    if (!said.stale.get(el)?.isConnected) say(el, "stale", words.stale.replace("{0}", moment.format(streams(el) ? new Date() : good.get(el) ?? loaded)));
  };
  // a stream that began comes back by itself, one that did not is asked for once more
  const again = (el) => setTimeout(() => { if (el.isConnected && !el._htmx?.sse) htmx.ajax("GET", el.getAttribute("hx-sse:connect"), { source: el }); }, 10000);

  // the console marks its pages, as a proxy or a gateway before it may answer with anything. Its own error is shown, but not in
  // the place of the part that a form is beside.
  const ours = (ctx) => {
    const h = ctx.response?.headers, kind = h?.get("Content-Type") ?? "", page = h?.get("X-Sluice-Page");
    return kind.startsWith("text/event-stream") || kind.startsWith("text/html") && (page === "page" || page === "error" && (ctx.request.method === "GET" || !asks(ctx.target)));
  };
  const failed = (ctx) => {
    const el = ctx.sourceElement;
    if (asks(el)) {
      stale(el);
      if (streams(el)) again(el);
      return;
    }
    if (el.id === unsaved?.form) putBack();
    say(ctx.target, "failed", el.dataset.failed ?? words.failed);
  };
  document.addEventListener("htmx:error", (e) => { if (e.detail.ctx) failed(e.detail.ctx); });
  document.addEventListener("htmx:sse:error", (e) => { if (e.target !== document) stale(e.target); });
  document.addEventListener("later", (e) => stale(e.target)); // of a stream: the part cannot be told now
  document.addEventListener("htmx:before:swap", (e) => {
    const { ctx } = e.detail, el = ctx.sourceElement;
    if (!ours(ctx)) { e.preventDefault(); failed(ctx); return; }
    if (asks(el)) { good.set(el, new Date()); unsay(el, "stale"); } else unsay(ctx.target, "failed");
    if (el.id === unsaved?.form) unsaved = null;
    if (dragged) e.preventDefault();
  });

  // rows that are dragged by their handle; what was dropped is sent as a form, and the answer says what became of it
  let dragged = null, unsaved = null; // unsaved: the order as it was before the first drag that has no answer yet
  const order = (rows) => [...rows.querySelectorAll(":scope > [data-row]")].map((r) => r.dataset.row);
  const arrange = (rows, ids) => { for (const id of ids) rows.append(...rows.querySelectorAll(`:scope > [data-row="${CSS.escape(id)}"]`)); };
  const letGo = () => { const { row, before } = dragged, rows = row.closest("[data-rows]"); row.classList.remove("dragged"); dragged = null; return { rows, before }; };
  const putBack = () => {
    if (dragged) { const { rows, before } = letGo(); arrange(rows, before); }
    const { form, before, now } = unsaved, rows = document.querySelector(`[data-rows="${form}"]`);
    unsaved = null;
    if (rows && order(rows).join() === now.join()) arrange(rows, before); // else the server has told another one since
  };
  document.addEventListener("pointerdown", (e) => {
    const h = e.target.closest("[data-handle]");
    if (!h || e.button) return;
    e.preventDefault();
    dragged = { row: h.closest("[data-row]"), before: order(h.closest("[data-rows]")) };
    dragged.row.classList.add("dragged");
  });
  document.addEventListener("pointermove", (e) => {
    if (!dragged) return;
    if (e.clientY < 60 || e.clientY > innerHeight - 60) scrollBy(0, e.clientY < 60 ? -20 : 20);
    const over = document.elementFromPoint(e.clientX, e.clientY)?.closest("[data-row]");
    if (!over || over === dragged.row || over.parentNode !== dragged.row.parentNode) return;
    const box = over.getBoundingClientRect();
    if (e.clientY > box.top + box.height / 2) over.after(dragged.row); else over.before(dragged.row);
  });
  const drop = (e) => {
    if (!dragged) return;
    const { rows, before } = letGo(), form = document.getElementById(rows.dataset.rows), now = order(rows);
    if (e.type === "pointercancel") { arrange(rows, before); return; }
    if (now.join() === before.join()) return;
    unsaved = { form: form.id, before: unsaved?.before ?? before, now };
    form.replaceChildren(...now.map((id) => Object.assign(document.createElement("input"), { type: "hidden", name: "ids", value: id })));
    form.requestSubmit();
  };
  document.addEventListener("pointerup", drop);
  document.addEventListener("pointercancel", drop);
})();
