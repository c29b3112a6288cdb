// Fields of a form that are choices or words.

import { element } from "../dom.js";
import { grow } from "../editing.js";

const DIGITS = 9;

function option(field, type, value, text, small, changed) {
  const input = element("input", { type, name: `field-${field.name}`, value });
  input.addEventListener("change", changed);
  const face = element("span", { className: "face" }, element("span", { textContent: text }));
  if (small) face.append(element("small", { textContent: small }));
  return { input, label: element("label", { className: "option" }, input, face) };
}

/** A scale or a single choice; Delete takes the answer back. */
export function radios(field, item, changed) {
  const scale = field.type === "scale";
  const steps = scale
    ? Array.from({ length: field.max - field.min + 1 }, (_, n) => ({ value: String(field.min + n), label: String(field.min + n), small: field.labels?.[field.min + n] }))
    : field.options;
  const made = steps.map(({ value, label, small }) => option(field, "radio", value, label, small, changed));
  const inputs = made.map(({ input }) => input);
  const group = element("div", { className: scale ? "steps" : "options" }, ...made.map(({ label }) => label));
  const chosen = () => inputs.find((input) => input.checked);
  group.addEventListener("keydown", (event) => {
    if (!["Delete", "Backspace"].includes(event.key) || !chosen()) return;
    event.preventDefault();
    chosen().checked = false;
    changed();
  });
  return {
    nodes: [group],
    value: () => { const one = chosen(); return one ? (scale ? Number(one.value) : one.value) : null; },
    set: (value) => { for (const input of inputs) input.checked = input.value === String(value); },
    focus: () => (chosen() ?? inputs[0]).focus(),
    /** The step of that number, or the option at that place. */
    digit(number) {
      const input = scale ? inputs.find((one) => one.value === String(number)) : inputs[number - 1];
      if (!input) return false;
      input.checked = true;
      input.focus();
      changed();
      return true;
    },
  };
}

/** Any of several. */
export function checks(field, item, changed) {
  const inputs = [];
  const limit = () => {
    const full = field.max && inputs.filter((input) => input.checked).length >= field.max;
    for (const input of inputs) input.disabled = Boolean(full) && !input.checked;
  };
  const made = field.options.map(({ value, label }) => option(field, "checkbox", value, label, "", () => { limit(); changed(); }));
  inputs.push(...made.map(({ input }) => input));
  return {
    nodes: [element("div", { className: "options" }, ...made.map(({ label }) => label))],
    value: () => { const found = inputs.filter((input) => input.checked).map((input) => input.value); return found.length ? found : null; },
    set: (value) => { for (const input of inputs) input.checked = (value ?? []).includes(input.value); limit(); },
    focus: () => (inputs.find((input) => !input.disabled) ?? inputs[0]).focus(),
    digit(number) {
      const input = inputs[number - 1];
      if (!input || number > DIGITS || input.disabled) return false;
      input.checked = !input.checked;
      input.focus();
      limit();
      changed();
      return true;
    },
  };
}

/** Words of one's own, or the reply as it should have been: untouched, it is no correction. */
export function words(field, item, changed) {
  const begins = field.type === "correction" ? item.replies[field.reply ?? 0]?.text ?? "" : "";
  const input = element("textarea", { rows: field.type === "correction" ? 4 : 2, maxLength: field.max_chars ?? 20000 });
  input.ariaLabel = field.label;
  input.addEventListener("input", () => { grow(input); changed(); });
  const show = (text) => { input.value = text; requestAnimationFrame(() => grow(input)); };
  show(begins);
  return {
    nodes: [input],
    value: () => (input.value.trim() && input.value !== begins ? input.value : null),
    set: (value) => show(value ?? begins),
    focus: () => input.focus(),
  };
}
