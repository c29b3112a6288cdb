// The panel under a reply: reasons, a comment, a correction, and whether they are saved.

import { $, element } from "./dom.js";
import { grow } from "./editing.js";

const TYPED_MS = 1200; // of no more typing

const words = () => JSON.parse($("#feedback-words").dataset.words);
const button = (text, className) => element("button", { type: "button", className, textContent: text });

/** A panel for a record of feedback.js; `doings` say what its controls do. */
export function newPanel(record, doings) {
  const panel = element("section", { className: "judging" });
  panel.setAttribute("aria-label", "Your feedback on this reply");
  const close = button("✕", "icon-button");
  close.setAttribute("aria-label", "Close");
  close.title = "Close (Esc)";
  close.addEventListener("click", () => doings.close(record));
  panel.append(
    element("div", { className: "judging-top" }, element("p", { className: "why" }), close),
    chips(record, doings), comment(record, doings),
    element("div", { className: "judging-end" }, outcome(record, doings), corrector(record)),
    correctionForm(record, doings),
  );
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault(); // it closes this and nothing else
    event.stopPropagation();
    doings.close(record);
  });
  return panel;
}

export function chips(record, doings) {
  const group = element("div", { className: "chips" });
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Reasons");
  for (const [code, sentence] of words().reasons) {
    const chip = button(sentence, "chip");
    chip.dataset.reason = code;
    chip.addEventListener("click", () => doings.reason(record, code));
    group.append(chip);
  }
  return group;
}

export function comment(record, doings) {
  const field = element("textarea", {
    className: "comment", rows: 1, value: record.comment, maxLength: words().maxComment,
    placeholder: "Comment (optional)",
  });
  field.setAttribute("aria-label", "Comment");
  let timer;
  const save = () => { clearTimeout(timer); doings.comment(record, field.value.trim()); };
  field.addEventListener("input", () => {
    grow(field);
    doings.typing(record);
    clearTimeout(timer);
    timer = setTimeout(save, TYPED_MS);
  });
  field.addEventListener("change", save);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); save(); }
    if (event.key === "Escape") save();
  });
  return field;
}

export function outcome(record, doings) {
  const told = element("span", { className: "told" });
  told.setAttribute("role", "status");
  const again = button("Try again", "button again");
  again.addEventListener("click", async () => {
    await doings.again(record);
    const form = $(".correction-form", record.panel);
    if (form && !form.hidden && $("textarea", form).value.trim() === record.kept.correction) setForm(record, false);
  });
  return element("div", { className: "outcome" }, told, again);
}

function corrector(record) {
  const open = button("Correct this reply", "button correct");
  open.addEventListener("click", () => setForm(record, $(".correction-form", record.panel).hidden));
  return open;
}

function correctionForm(record, doings) {
  const field = element("textarea", { className: "edit-field", maxLength: words().maxCorrection });
  field.setAttribute("aria-label", "What the reply should have said");
  const leave = button("Cancel", "button");
  const save = button("Save correction", "button primary");
  const form = element("div", { className: "correction-form edit-form", hidden: true },
    field, element("div", { className: "choices" }, leave, save));
  const keep = async () => {
    if (save.disabled) return;
    save.disabled = true;
    if (await doings.correct(record, field.value.trim())) setForm(record, false);
    save.disabled = false;
  };
  leave.addEventListener("click", () => setForm(record, false));
  save.addEventListener("click", keep);
  field.addEventListener("input", () => {
    grow(field);
    save.disabled = !field.value.trim() || field.value.trim() === record.text.trim();
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); keep(); }
    if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); setForm(record, false); }
  });
  return form;
}

function setForm(record, open) {
  const form = $(".correction-form", record.panel);
  form.hidden = !open;
  $(".correct", record.panel).ariaExpanded = String(open);
  $(".correct", record.panel).hidden = open;
  if (!open) { $(".correct", record.panel).focus(); return; }
  const field = $("textarea", form);
  field.value = record.kept.correction ?? record.text;
  field.dispatchEvent(new Event("input"));
  field.focus();
}

/** Bring a panel to what its record says. */
export function showPanel({ panel, liked, reasons, state, told }) {
  const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  const refused = state === "refused";
  write($(".why", panel), refused ? "Your feedback" : liked === false ? "What was wrong?" : liked ? "What was good?" : "Your feedback");
  $(".chips", panel).hidden = refused || liked !== false;
  $(".comment", panel).hidden = refused || liked === null;
  for (const chip of panel.querySelectorAll(".chip")) {
    chip.ariaPressed = String(reasons.includes(chip.dataset.reason));
  }
  write($(".told", panel), told);
  panel.dataset.state = state;
  $(".correct", panel).hidden = refused || !$(".correction-form", panel).hidden;
  const again = $(".again", panel);
  again.hidden = state !== "failed" && !refused;
  write(again, refused ? "Ask me again" : "Try again");
}
