// Copying a message, and writing a message or a conversation's name anew in its place. A render
// takes the field away, whatever it was for, so the words live in `drafts` until the new version is
// there or the person cancels.

import { $, act, element, frame } from "./dom.js";
import { shownConversation } from "./thread.js";

const COPIED_MS = 1400;
const HELD_BACK_MS = 2000; // longer than an answer takes, shorter than anybody waits to try again
const drafts = new Map(); // by id: kind, conversation, was, text, caret, sent

const editable = {
  message: {
    find: (id) => $(`#thread .message[data-id="${id}"]`),
    shown: ".text", tag: "textarea", label: "Edit the message", verb: "Send",
    value: (item) => $(".text", item).dataset.raw,
    save: (item, id, text) => act(item, { action: "edit", message: id, text }),
  },
  conversation: {
    find: (id) => $(`#conversations li[data-conversation="${id}"]`),
    shown: ".row", tag: "input", label: "New name", verb: "Save",
    value: (item) => item.dataset.title,
    save: (item, id, text) => act(item, { action: "rename", conversation: id, text }),
  },
};

/** A control acts once: what it changes brings a new one, what is refused leaves this one. */
export function holdBack(button) {
  button.disabled = true;
  setTimeout(() => { button.disabled = false; }, HELD_BACK_MS);
}

export async function copy(button) {
  const text = $("[data-raw]", button.closest(".message")).dataset.raw;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = element("textarea", { value: text, className: "offscreen" });
    frame().append(area); // pages without https have no clipboard interface
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), COPIED_MS);
}

/** Begin to write a `message` or a `conversation`'s name anew. */
export function edit(kind, id) {
  const item = editable[kind].find(id);
  if (drafts.has(id) || !item) return;
  const was = editable[kind].value(item);
  drafts.set(id, { kind, conversation: shownConversation(), was, text: was, sent: false });
  const field = showField(id, item);
  field.focus();
  field.select();
}

/** A field in place of what is shown; Enter keeps, Esc leaves it as it was. */
function showField(id, item) {
  const draft = drafts.get(id);
  const { shown, tag, label, verb } = editable[draft.kind];
  const field = element(tag, { className: "edit-field", value: draft.text });
  field.setAttribute("aria-label", label);
  const save = element("button", { className: "button primary", textContent: verb });
  const leave = element("button", { className: "button", textContent: "Cancel" });
  const choices = element("div", { className: "choices" }, leave, save);
  const form = element("div", { className: "edit-form" }, field, choices);
  const end = () => { drafts.delete(id); form.remove(); $(shown, item).hidden = false; };
  save.addEventListener("click", () => { if (!send(id, item, field, save)) end(); });
  leave.addEventListener("click", end);
  field.addEventListener("keydown", (event) => {
    const enters = event.key === "Enter" && !event.shiftKey && !event.isComposing;
    if (enters) { event.preventDefault(); save.click(); }
    if (event.key === "Escape") { event.stopPropagation(); end(); }
  });
  field.addEventListener("input", () => {
    Object.assign(draft, { text: field.value, caret: field.selectionStart });
    grow(field);
  });
  $(shown, item).hidden = true;
  $(shown, item).after(form);
  grow(field);
  return field;
}

/** Hand the new words to the server; false when there is nothing to hand over. */
function send(id, item, field, button) {
  const draft = drafts.get(id);
  const text = field.value.trim();
  if (!text || (draft.kind === "conversation" && text === draft.was)) return false;
  draft.sent = true;
  holdBack(button);
  editable[draft.kind].save(item, id, text);
  return true;
}

/** Make a field as high as its words. */
export function grow(field) {
  if (field.tagName !== "TEXTAREA") return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}

/** Bring back the fields that a render took away; let go of what the server has taken. */
export function restoreFields() {
  for (const [id, draft] of drafts) {
    const { find, value } = editable[draft.kind];
    const item = find(id);
    const here = draft.conversation === shownConversation();
    const gone = !item && draft.kind === "message" && here;
    if (draft.sent && (gone || (item && value(item) !== draft.was))) { drafts.delete(id); continue; }
    if (!item || $(".edit-form", item)) continue;
    const field = showField(id, item);
    if (document.activeElement !== document.body) continue;
    const caret = draft.caret ?? draft.text.length;
    field.focus();
    field.setSelectionRange(caret, caret);
  }
}
