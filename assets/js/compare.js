// Two replies side by side: the vote on them, why, and who they were. Each turn has one record of it
// here while its comparison is shown; a render of the turns takes the panel away, and it is put back.

import { $, act, closest, comparing, element } from "./dom.js";
import { chips, comment, outcome } from "./judging.js";
import { newId, sender } from "./saying.js";

const KEYS = { 1: "left", 2: "right", 3: "tie", 4: "both_bad" };
const QUESTIONS = {
  left: "What was wrong with B?", right: "What was wrong with A?",
  tie: "Was anything wrong?", both_bad: "What was wrong?",
};
const records = new Map(); // by comparison and turn
let shown = null; // the comparison; null until the first one is shown, "" for one that has not begun

const keyOf = ({ dataset }) => `${dataset.comparison} ${dataset.turn}`;
const verdicts = () => [...document.querySelectorAll("#compare-thread .verdict")];
const open = () => verdicts().find((item) => !("vote" in item.dataset));

function recordOf(item) {
  const known = records.get(keyOf(item));
  if (known) return known;
  const said = item.dataset.vote ? JSON.parse(item.dataset.vote) : { id: null, choice: null, reasons: [], comment: "" };
  const record = {
    key: keyOf(item),
    comparison: item.dataset.comparison,
    turn: Number(item.dataset.turn),
    since: performance.now(), // both replies are there
    ...said, // as wanted
    kept: { ...said }, // and as the server has acknowledged
    waiting: {}, // writes that are not acknowledged, by kind: choice, why
    state: "", // "saving", "saved", "failed", "refused"
    told: "",
    panel: null,
    open: false,
  };
  records.set(record.key, record);
  return record;
}

const { send, tell } = sender(show, (record, kind) => {
  if (kind !== "choice") return;
  record.open = true;
  act($("#compare-thread .rounds"), { action: "look" }); // who they were
});

/** Say which side was better: once, and it stays. */
export function choose(choice) {
  const item = open();
  if (!item) return;
  const record = recordOf(item);
  if (record.sending || record.kept.choice) return;
  if (record.choice !== choice) { record.choice = choice; record.id = newId(); }
  const { comparison, turn, id } = record;
  const lead_time_s = (performance.now() - record.since) / 1000;
  record.waiting.choice = {
    path: "choose", body: { comparison, turn, id, choice, lead_time_s }, keeps: { id, choice },
  };
  send(record, record.state === "refused");
}

/** Open or close why somebody voted so. */
export function toggleWhy(button) {
  const record = recordOf(button.closest(".verdict"));
  record.open = !record.open;
  show(record);
  if (record.open) $("button, textarea", record.panel)?.focus();
}

function sayWhy(record) {
  const { comparison, id, reasons, comment } = record;
  record.waiting.why = { path: "explain", body: { comparison, id, reasons, comment }, keeps: { reasons, comment } };
  send(record);
}

const doings = {
  again: (record) => send(record, record.state === "refused"),
  reason(record, code) {
    const has = record.reasons.includes(code);
    record.reasons = has ? record.reasons.filter((one) => one !== code) : [...record.reasons, code];
    sayWhy(record);
    show(record);
  },
  typing(record) { if (record.state === "saved") tell(record, "", ""); },
  comment(record, text) {
    if (record.comment === text) return;
    record.comment = text;
    sayWhy(record);
  },
};

/** Put the panel away and go on: with the next message. */
function done(record) {
  doings.comment(record, $(".comment", record.panel).value.trim());
  record.open = false;
  show(record);
  $("#compare-composer textarea")?.focus();
}

function newPanel(record) {
  const panel = element("section", { className: "judging why-panel" });
  panel.setAttribute("aria-label", "Why");
  const end = element("button", { type: "button", className: "button primary finish", textContent: "Done" });
  end.title = "Done (Ctrl+Enter)";
  end.addEventListener("click", () => done(record));
  panel.append(
    element("p", { className: "why" }), chips(record, doings), comment(record, doings),
    element("div", { className: "judging-end" }, outcome(record, doings), end),
  );
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); done(record); }
    if (event.key !== "Escape") return;
    event.preventDefault(); // it closes this and nothing else
    event.stopPropagation();
    done(record);
  });
  return panel;
}

const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };

/** Bring the page to what the record says. */
function show(record) {
  const item = verdicts().find((one) => keyOf(one) === record.key);
  if (!item) return;
  for (const button of item.querySelectorAll(".choice")) {
    button.ariaPressed = String(button.dataset.value === record.choice && record.state !== "refused");
    button.disabled = record.state === "saving" || record.kept.choice !== null;
  }
  const more = $('[data-click="why"]', item);
  if (more) more.ariaExpanded = String(record.open);
  if (!record.open && !record.panel) return;
  record.panel ??= newPanel(record);
  showPanel(record);
  if (record.open && record.panel.parentNode !== item) {
    item.append(record.panel);
    if (record.kept.choice && comparing() && adrift()) $(".chip", record.panel)?.focus({ preventScroll: true });
    item.scrollIntoView({ block: "nearest" });
  }
  if (!record.open) record.panel.remove();
}

/** Nothing that somebody uses has the focus. */
const adrift = () => document.activeElement === document.body || document.activeElement.disabled;

function showPanel({ panel, kept, reasons, state, told }) {
  const voted = kept.choice !== null;
  write($(".why", panel), voted ? QUESTIONS[kept.choice] : "");
  for (const part of [".why", ".chips", ".comment", ".finish"]) $(part, panel).hidden = !voted || state === "refused";
  for (const chip of panel.querySelectorAll(".chip")) chip.ariaPressed = String(reasons.includes(chip.dataset.reason));
  write($(".told", panel), told);
  panel.dataset.state = state;
  const again = $(".again", panel);
  again.hidden = state !== "failed" && state !== "refused";
  write(again, state === "refused" ? "Ask me again" : "Try again");
}

/** After every change of the page: the address, the panels, and the buttons once there are some. */
export function keepComparison() {
  const id = $("#compare-thread .thread")?.dataset.comparison;
  if (id === undefined) return;
  if (id !== shown) {
    const first = shown === null;
    shown = id;
    for (const [key, record] of records) if (record.comparison !== id && !record.sending) records.delete(key);
    const url = new URL(location.href);
    if (id) url.searchParams.set("compare", id); else url.searchParams.delete("compare");
    if (id || !first) history.replaceState(null, "", url);
  }
  for (const item of verdicts()) {
    const isNew = !records.has(keyOf(item));
    const record = recordOf(item);
    const { focused } = record;
    show(record);
    if (focused?.isConnected && adrift()) focused.focus();
    if (isNew && item === open()) offer(item);
  }
}

/** Both replies are there: the keys vote at once where nobody is writing. */
function offer(item) {
  const field = $("#compare-composer textarea");
  const writes = document.activeElement === field && field.value;
  if (comparing() && !writes && (adrift() || document.activeElement === field)) {
    $(".choice", item).focus({ preventScroll: true });
  }
}

/** Show the tab when the address names a comparison. */
export function openComparison() {
  if (new URL(location.href).searchParams.has("compare")) $("#compare-tab-button")?.click();
}

addEventListener("keydown", (event) => {
  const typing = closest(event, "input, textarea, select, [contenteditable]");
  if (!comparing() || typing || event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
  if (event.key in KEYS && open()) { event.preventDefault(); choose(KEYS[event.key]); }
});

// Where somebody is within a panel, until they go elsewhere.
document.addEventListener("focusin", ({ target }) => {
  for (const record of records.values()) record.focused = record.panel?.contains(target) ? target : null;
});
