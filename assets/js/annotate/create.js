// A new project: its form as JSON, with what it looks like beside it.

import { element } from "../dom.js";
import { newForm } from "./form.js";
import { go } from "./annotate.js";
import { PRESETS, SAMPLE } from "./presets.js";
import { asked, button, head } from "./server.js";

const PREVIEW_MS = 250;

function labelled(text, input, help = "") {
  const label = element("label", { className: "entry" }, element("span", { textContent: text }), input);
  if (help) label.append(element("small", { textContent: help }));
  return label;
}
const number = (value, min, max) => element("input", { type: "number", value, min, max, step: 1 });

export function showCreate(root) {
  const name = element("input", { type: "text", maxLength: 120, required: true });
  const guidelines = element("textarea", { rows: 5, maxLength: 40000, placeholder: "What counts as right, with examples. Markdown." });
  const overlap = number(1, 1, 100);
  const lease = number(30, 1, 10080);
  const gold = number(0, 0, 1000);
  const code = element("input", { type: "text", maxLength: 200 });
  const preset = element("select", {}, ...Object.keys(PRESETS).map((one) => element("option", { textContent: one })));
  const form = element("textarea", { className: "code-field", rows: 14, spellcheck: false });
  const preview = element("div", { className: "preview", inert: true });
  const state = element("p", { className: "state", role: "status" });
  let timer;

  function parsed() {
    try { return JSON.parse(form.value); } catch (error) { return error; }
  }
  function look() {
    const told = parsed();
    preview.replaceChildren();
    try {
      if (told instanceof Error) throw told;
      preview.append(newForm(told.filter((field) => field.type !== "boxes"), SAMPLE, () => {}).node);
      state.textContent = "";
    } catch (error) {
      state.dataset.state = "failed";
      state.textContent = told instanceof Error ? `The form is not JSON: ${error.message}` : "The form is not a list of fields as it must be.";
    }
  }
  const fill = () => { form.value = JSON.stringify(PRESETS[preset.value], null, 2); look(); };
  preset.addEventListener("change", fill);
  form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, PREVIEW_MS); });

  const make = button("Make the project", "primary", async () => {
    const fields = parsed();
    if (fields instanceof Error) { look(); form.focus(); return; }
    make.disabled = true;
    const told = await asked("create", {
      name: name.value, guidelines: guidelines.value, form: fields, overlap: Number(overlap.value),
      lease_s: Number(lease.value) * 60, gold_every: Number(gold.value), completion_code: code.value.trim() || null,
    });
    make.disabled = false;
    if (told.error) { state.dataset.state = "failed"; state.textContent = told.error; return; }
    go("lead", told.id);
  });
  fill();
  root.append(
    head("New project", () => go("list")),
    element("div", { className: "making" },
      element("section", {}, labelled("Name", name), labelled("Guidelines", guidelines),
        element("div", { className: "row" },
          labelled("People for each item", overlap), labelled("Minutes to keep an item", lease, "for who opened it; drafts renew them"),
          labelled("A test item after every", gold, "0: as they come")),
        labelled("Completion code", code, "shown at the end, for Prolific")),
      element("section", {}, labelled("Begin with", preset), labelled("Form", form),
        element("h3", { textContent: "What it looks like" }), preview)),
    element("div", { className: "actions" }, state, element("div", { className: "choices" }, make)),
  );
  name.focus();
}
