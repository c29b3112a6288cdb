// What a person says of a reply: a vote, why, and what it should have said. Each reply has one
// record of it here while its conversation is shown. A render of the thread takes marks and panel
// away; both are put back from the record, which is newer than what the server rendered.

import { $, element } from "./dom.js";
import { newPanel, showPanel } from "./judging.js";
import { newId, sender } from "./saying.js";
import { shownConversation } from "./thread.js";

const records = new Map(); // by the reply's id

const itemOf = (id) => $(`#thread .message[data-id="${id}"][data-feedback]`);

function recordOf(item) {
  const known = records.get(item.dataset.id);
  if (known) return known;
  const said = JSON.parse(item.dataset.feedback);
  const record = {
    id: item.dataset.id,
    conversation: shownConversation(),
    text: $("[data-raw]", item).dataset.raw, // the reply's own
    ...said, // liked, reasons, comment, correction: as wanted
    kept: { ...said }, // and as the server has acknowledged
    waiting: {}, // writes that are not acknowledged, by kind: vote, correction
    state: "", // "saving", "saved", "failed", "refused"
    told: "",
    panel: null,
    open: false,
  };
  records.set(record.id, record);
  return record;
}

/** A thumb: votes, changes the vote, or takes it back. */
export function vote(button) {
  const item = button.closest(".message");
  const record = recordOf(item);
  const liked = button.dataset.value === "up";
  const again = record.liked === liked && record.state !== "refused";
  record.liked = again ? null : liked;
  if (again || liked) record.reasons = [];
  if (again) record.comment = "";
  record.open = !again;
  sayVote(record);
  show(record);
  if (record.open) record.panel.scrollIntoView({ block: "nearest" });
}

/** Open or close what was said of a reply. */
export function toggleFeedback(button) {
  const record = recordOf(button.closest(".message"));
  if (record.open) { close(record); return; }
  record.open = true;
  show(record);
  record.panel.scrollIntoView({ block: "nearest" });
  $("button, textarea", record.panel)?.focus();
}

/** Nothing is known any more: the server has deleted it. */
export function forgetFeedback() {
  for (const record of records.values()) record.panel?.remove();
  records.clear();
}

function close(record) {
  record.open = false;
  show(record);
  const item = itemOf(record.id);
  const kept = item && $('[data-click="feedback"]:not([hidden])', item);
  (kept || (item && $('[data-click="vote"]', item)))?.focus();
}

function sayVote(record) {
  const { conversation, id: message, liked, reasons, comment } = record;
  record.waiting.vote = liked === null
    ? { path: "take-back", body: { conversation, message }, keeps: { liked, reasons, comment } }
    : {
      path: "rate",
      body: { conversation, message, id: newId(), liked, reasons, comment },
      keeps: { liked, reasons, comment },
    };
  send(record);
}

/** Take a correction back. */
export function withdraw(button) {
  const record = recordOf(button.closest(".message"));
  const { conversation, id: message } = record;
  record.waiting.correction = { path: "withdraw", body: { conversation, message }, keeps: { correction: null } };
  send(record);
  (record.open ? $(".correct", record.panel) : $('[data-click="vote"]', itemOf(record.id)))?.focus();
}

function sayCorrection(record, text) {
  const { conversation, id: message, waiting } = record;
  if (waiting.correction?.body.text !== text) { // or it is the one that failed, once more
    const body = { conversation, message, id: newId(), text };
    waiting.correction = { path: "correct", body, keeps: { correction: text } };
  }
  return send(record);
}

const { send, tell } = sender(show);

const doings = {
  close,
  again: (record) => send(record, record.state === "refused"),
  reason(record, code) {
    const has = record.reasons.includes(code);
    record.reasons = has ? record.reasons.filter((one) => one !== code) : [...record.reasons, code];
    sayVote(record);
    show(record);
  },
  typing(record) { if (record.state === "saved") tell(record, "", ""); },
  comment(record, text) {
    if (record.comment === text || record.liked === null) return;
    record.comment = text;
    sayVote(record);
  },
  async correct(record, text) {
    await sayCorrection(record, text);
    return record.kept.correction === text;
  },
};

/** Bring the page to what the record says. */
function show(record) {
  const item = itemOf(record.id);
  if (!item) return;
  const { liked, kept } = record;
  const sure = liked === kept.liked;
  for (const [value, pressed] of [["up", liked === true], ["down", liked === false]]) {
    const thumb = $(`[data-click="vote"][data-value="${value}"]`, item);
    const shown = pressed && record.state !== "refused";
    if (thumb.ariaPressed !== String(shown)) thumb.ariaPressed = String(shown);
    thumb.classList.toggle("unsure", shown && !sure);
  }
  const own = $(".correction", item);
  if ($(".own", own).textContent !== (kept.correction ?? "")) $(".own", own).textContent = kept.correction ?? "";
  own.hidden = kept.correction === null;
  const more = $('[data-click="feedback"]', item);
  more.hidden = kept.liked === null && kept.correction === null && !record.open;
  more.ariaExpanded = String(record.open);
  record.panel ??= record.open ? newPanel(record, doings) : null;
  if (record.panel) showPanel(record);
  if (record.open && record.panel.parentNode !== item) item.append(record.panel);
  if (!record.open) record.panel?.remove();
}

/** After every change of the page: marks and panels that a render took away. */
export function restoreFeedback() {
  for (const [id, record] of records) {
    const gone = record.conversation !== shownConversation();
    if (gone && !record.sending && !Object.keys(record.waiting).length) { records.delete(id); continue; }
    const focused = record.focused;
    show(record);
    if (focused?.isConnected && document.activeElement === document.body) focused.focus();
  }
}

// Where somebody is within a panel, until they go elsewhere.
document.addEventListener("focusin", ({ target }) => {
  for (const record of records.values()) record.focused = record.panel?.contains(target) ? target : null;
});
