// A form by its definition. A field is { node, value(), set(value), focus(), digit?(number) }.

import { element } from "../dom.js";
import { boxes } from "./boxes.js";
import { checks, radios, words } from "./fields.js";
import { ranking } from "./ranking.js";
import { spans } from "./spans.js";

const kinds = {
  scale: radios, choice: radios, chips: checks, text: words, correction: words, spans, boxes,
  best_of: ranking,
};

/** The fields of a form for an item; `changed` is told whenever somebody enters something. */
export function newForm(definition, item, changed) {
  const fields = definition.map((field) => newField(field, item, changed));
  const node = element("form", { className: "fields", noValidate: true }, ...fields.map((one) => one.node));
  node.addEventListener("submit", (event) => event.preventDefault());
  return {
    node, fields,
    values: () => Object.fromEntries(fields.map((one) => [one.name, one.value()]).filter(([, value]) => value !== null)),
    set: (values) => { for (const one of fields) one.set(values[one.name] ?? null); },
    missing: () => fields.filter((one) => one.required && one.value() === null),
    close: () => { for (const one of fields) one.close?.(); },
  };
}

function newField(field, item, changed) {
  const labelled = element("legend", { textContent: field.label });
  if (field.required) labelled.append(element("span", { className: "needed", textContent: "required" }));
  const node = element("fieldset", { className: `field ${field.type}` }, labelled);
  node.dataset.name = field.name;
  if (field.help) {
    const help = element("p", { className: "help", id: `help-${field.name}`, textContent: field.help });
    node.append(help);
    node.setAttribute("aria-describedby", help.id);
  }
  const wrong = element("p", { className: "wrong", role: "alert", hidden: true });
  const told = () => { wrong.hidden = true; node.classList.remove("is-wrong"); changed(); };
  const made = kinds[field.type](field, item, told);
  node.append(...made.nodes, wrong);
  return {
    ...made, node, name: field.name, required: field.required,
    complain(sentence) { wrong.textContent = sentence; wrong.hidden = false; node.classList.add("is-wrong"); },
  };
}
