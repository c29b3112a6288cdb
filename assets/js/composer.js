// The field for the next message. Gradio replaces its whole text when a message was taken and when
// one comes back; what the person typed meanwhile stays.

import { $, closest, comparing, composer } from "./dom.js";

const SETTLED_MS = 200; // Gradio may set a value again after its files have come
const NAMES = {
  ".upload-button": "Add a picture",
  ".submit-button": "Send (Enter)",
  ".stop-button": "Stop writing (Esc)",
};

const FIELDS = ["#composer", "#compare-composer"];

let typed = ""; // what the person left in the field
let sent = null; // what Enter took, until the server has it
let stopSoon = false; // Esc came before there was a button for it
let waiting = false; // pictures are in the field

export const composerText = () => $("#composer textarea");
export const picturesWait = () => waiting;
const stopButton = () => $(`${composer()} .stop-button`);

/** Stop the reply, at once or as soon as it has begun; says whether there was one to stop. */
export function stopReply() {
  const button = stopButton();
  if (button) button.click();
  else stopSoon = sent !== null && !comparing();
  return Boolean(button);
}

/** After every change of the page: names for bare buttons, typed words back in the field, and
 *  refused uploads in words. */
export function keepComposer() {
  label();
  keepTyping();
  sayPlainly();
}

function label() {
  for (const [selector, name] of Object.entries(NAMES)) {
    for (const button of document.querySelectorAll(FIELDS.map((field) => `${field} ${selector}`))) {
      if (button.title === name) continue;
      button.setAttribute("aria-label", name);
      button.title = name;
    }
  }
  composerText()?.setAttribute("aria-label", "Message");
  $("#compare-composer textarea")?.setAttribute("aria-label", "Message to both");
  for (const image of document.querySelectorAll(FIELDS.map((field) => `${field} .thumbnails img`))) {
    if (!image.alt) image.alt = "Picture to be sent";
  }
  // A browser does not tell that the same file is chosen again while the field still holds it.
  const waits = $("#composer .thumbnail-item") !== null;
  const input = $('#composer input[type="file"]');
  if (waiting && !waits && input) input.value = "";
  waiting = waits;
}

/** Keep what was typed while the text was replaced, after the text that came instead. */
function keepTyping() {
  const field = composerText();
  if (stopSoon && stopButton()) { stopSoon = false; stopButton().click(); }
  if (!field || field.value === typed) {
    if (stopButton()) sent = null;
    return;
  }
  const again = field.value && typed.startsWith(`${field.value}\n`); // Gradio set it once more
  const rest = sent !== null && typed.startsWith(sent) ? typed.slice(sent.length) : typed;
  sent = null;
  if (!again) typed = [field.value, rest].filter(Boolean).join("\n");
  if (field.value === typed) return;
  field.value = typed;
  setTimeout(keepTyping, SETTLED_MS);
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Gradio shows the whole answer to an upload that was refused; the sentence in it is meant. */
function sayPlainly() {
  for (const text of document.querySelectorAll("[data-testid=toast-text]")) {
    const sentence = /^\s*HTTP \d+: .*"detail":"((?:[^"\\]|\\.)*)"/.exec(text.textContent)?.[1];
    if (sentence) text.textContent = JSON.parse(`"${sentence}"`);
  }
}

function noteSending() {
  sent = composerText()?.value ?? null;
  stopSoon = false;
}

document.addEventListener("input", (event) => {
  if (event.target === composerText()) typed = event.target.value;
});
document.addEventListener("keydown", (event) => {
  const enters = event.key === "Enter" && !event.shiftKey && !event.isComposing;
  const field = enters && closest(event, FIELDS.map((each) => `${each} textarea`).join());
  if (!field) return;
  // While a reply is written the words stay where they are: Gradio would send them at its end.
  if ($(".stop-button", field.closest(FIELDS.join()))) { event.preventDefault(); event.stopPropagation(); return; }
  if (field === composerText()) noteSending();
}, true);
document.addEventListener("click", (event) => {
  if (closest(event, "#composer .submit-button")) noteSending();
}, true);
// Whoever goes on to something else no longer means the reply that was to be stopped.
document.addEventListener("llava-act", () => { stopSoon = false; }, true);
