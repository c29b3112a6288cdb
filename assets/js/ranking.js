// The versions of a reply, put in order: one record for each message of the person's whose replies are
// being ranked, while its conversation is shown.

import { $, element } from "./dom.js";
import { outcome } from "./judging.js";
import { newId, sender } from "./saying.js";
import { shownConversation } from "./thread.js";

const MOST = 32; // as many as a ranking takes
const records = new Map(); // by the id of the message that was replied to

const buttonOf = (asked) => $(`#thread [data-click="rank"][data-asked="${asked}"]`);
const { send, tell } = sender(show);

/** Open or close the order of a reply's versions. */
export async function toggleRanking(button) {
  const { asked } = button.dataset;
  const record = records.get(asked);
  if (record?.open) { close(record); return; }
  const known = record ?? newRecord(asked);
  known.open = true;
  if (!await read(known, button.closest(".message").dataset.id)) tell(known, "failed", "The versions cannot be read. Try again.");
  show(known);
  known.panel?.scrollIntoView({ block: "nearest" });
  ($("li", known.panel) ?? $("button", known.panel))?.focus();
}

function newRecord(asked) {
  const record = {
    asked, conversation: shownConversation(), replies: [], ids: [],
    kept: { ids: null }, waiting: {}, state: "", told: "", panel: null, open: false,
  };
  records.set(asked, record);
  return record;
}

/** All versions as they are now; what was ranked before comes first, in that order. */
async function read(record, message) {
  const query = new URLSearchParams({ conversation: record.conversation, message });
  const answer = await fetch(`feedback/versions?${query}`).catch(() => null);
  const told = answer?.ok ? await answer.json().catch(() => null) : null;
  if (!told) return false;
  const all = told.replies.map(({ id }) => id);
  const first = (record.waiting.ranking ? record.ids : told.ranking ?? []).filter((id) => all.includes(id));
  record.replies = told.replies;
  record.kept.ids = told.ranking;
  record.ids = [...first, ...all.filter((id) => !first.includes(id))].slice(0, MOST);
  return true;
}

function close(record) {
  record.open = false;
  show(record);
  buttonOf(record.asked)?.focus();
}

function save(record) {
  const ids = [...record.ids];
  const body = { conversation: record.conversation, message: record.asked, id: newId(), replies: ids };
  record.waiting.ranking = { path: "rank", body, keeps: { ids } };
  send(record);
}

function move(record, id, by) {
  const from = record.ids.indexOf(id);
  const to = from + by;
  if (to < 0 || to >= record.ids.length) return;
  record.ids.splice(to, 0, ...record.ids.splice(from, 1));
  if (record.state === "saved") { record.state = ""; record.told = ""; }
  show(record);
  $(`li[data-reply="${id}"]`, record.panel).focus();
}

function newPanel(record) {
  const panel = element("section", { className: "judging ranking" });
  panel.setAttribute("aria-label", "Rank the versions");
  const shut = element("button", { type: "button", className: "icon-button", textContent: "✕", title: "Close (Esc)" });
  shut.setAttribute("aria-label", "Close");
  shut.addEventListener("click", () => close(record));
  const keep = element("button", { type: "button", className: "button primary", textContent: "Save this order", title: "Save (Ctrl+Enter)" });
  keep.addEventListener("click", () => save(record));
  panel.append(
    element("div", { className: "judging-top" }, element("p", { className: "why", textContent: "Best first" }), shut),
    element("ol", { className: "ranked" }),
    element("div", { className: "judging-end" }, outcome(record, { again: () => (record.ids.length ? send(record, record.state === "refused") : toggleAgain(record)) }), keep),
  );
  panel.addEventListener("keydown", (event) => {
    const id = event.target.closest("li")?.dataset.reply;
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (id && by) { event.preventDefault(); move(record, id, by); }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); save(record); }
    if (event.key !== "Escape") return;
    event.preventDefault(); // it closes this and nothing else
    event.stopPropagation();
    close(record);
  });
  return panel;
}

function toggleAgain(record) {
  record.open = false;
  toggleRanking(buttonOf(record.asked));
}

function line(record, id, place) {
  const number = record.replies.findIndex((reply) => reply.id === id);
  const up = element("button", { type: "button", className: "icon-button", textContent: "↑", disabled: place === 0 });
  const down = element("button", { type: "button", className: "icon-button", textContent: "↓", disabled: place === record.ids.length - 1 });
  up.setAttribute("aria-label", `Version ${number + 1} up`);
  down.setAttribute("aria-label", `Version ${number + 1} down`);
  up.addEventListener("click", () => move(record, id, -1));
  down.addEventListener("click", () => move(record, id, 1));
  const item = element("li", { tabIndex: 0 },
    element("span", { className: "number", textContent: `Version ${number + 1}` }),
    element("span", { className: "of-version", textContent: record.replies[number].text }), up, down);
  item.dataset.reply = id;
  item.setAttribute("aria-label", `${place + 1}. Version ${number + 1}: ${record.replies[number].text}. Arrow keys move it.`);
  return item;
}

/** Bring the page to what the record says. */
function show(record) {
  const button = buttonOf(record.asked);
  const item = button?.closest(".message");
  if (!item) return;
  if (button.ariaExpanded !== String(record.open)) button.ariaExpanded = String(record.open);
  const place = (record.kept.ids ?? []).indexOf(item.dataset.id) + 1;
  const mark = place ? `ranked ${place} of ${record.kept.ids.length}` : "";
  if (record.kept.ids && $(".rank", item).textContent !== mark) $(".rank", item).textContent = mark;
  if (!record.open) { record.panel?.remove(); return; }
  record.panel ??= newPanel(record);
  const list = $(".ranked", record.panel);
  const order = [...list.children].map((one) => one.dataset.reply);
  if (order.join() !== record.ids.join()) list.replaceChildren(...record.ids.map((id, at) => line(record, id, at)));
  const told = $(".told", record.panel);
  if (told.textContent !== record.told) told.textContent = record.told;
  record.panel.dataset.state = record.state;
  const again = $(".again", record.panel);
  again.hidden = record.state !== "failed" && record.state !== "refused";
  again.textContent = record.state === "refused" ? "Ask me again" : "Try again";
  if (record.panel.parentNode !== item) item.append(record.panel);
}

/** After every change of the page: the panel that a render took away, or that another version has. */
export function restoreRanking() {
  for (const [asked, record] of records) {
    const gone = record.conversation !== shownConversation();
    if (gone && !record.sending && !Object.keys(record.waiting).length) { records.delete(asked); continue; }
    if (!gone) show(record);
  }
}
