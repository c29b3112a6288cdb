// Marking parts of a reply: selected by mouse, finger or keyboard, then labelled.
// The reply is "editable" so that a caret goes through it, and takes no change.

import { element } from "../dom.js";
import { button } from "./server.js";

// The server counts characters; the browser counts UTF-16 units.
const characters = (text, units) => [...text.slice(0, units)].length;
const units = (text, count) => [...text].slice(0, count).join("").length;

/** Where a point of the document is in a node's text. */
function offsetIn(root, node, offset) {
  const range = document.createRange();
  range.selectNodeContents(root);
  range.setEnd(node, offset);
  return range.toString().length;
}

export function spans(field, item, changed) {
  const text = item.replies[field.reply ?? 0]?.text ?? "";
  const reply = element("div", { className: "marked", tabIndex: 0, role: "textbox" });
  reply.setAttribute("contenteditable", "true");
  reply.setAttribute("aria-readonly", "true");
  reply.setAttribute("aria-multiline", "true");
  reply.ariaLabel = `${field.label}: select a part of the reply, then choose a label`;
  reply.spellcheck = false;
  for (const kind of ["beforeinput", "paste", "drop", "cut", "dragstart"]) reply.addEventListener(kind, (event) => event.preventDefault());
  let marks = []; // start and end in UTF-16 units, label
  let selected = null;

  const note = () => {
    const selection = getSelection();
    if (!selection.rangeCount || !reply.contains(selection.anchorNode) || !reply.contains(selection.focusNode)) return;
    const range = selection.getRangeAt(0);
    const [start, end] = [offsetIn(reply, range.startContainer, range.startOffset), offsetIn(reply, range.endContainer, range.endOffset)];
    selected = end > start ? { start, end } : null;
    for (const one of labels) one.disabled = !selected;
  };
  const labels = field.labels.map((label, index) => {
    const one = button(label, "label", () => mark(label));
    one.style.setProperty("--mark", `var(--mark-${index % 6})`);
    one.disabled = true;
    one.addEventListener("mousedown", (event) => event.preventDefault()); // the selection stays
    return one;
  });
  const list = element("ul", { className: "marks" });

  function mark(label) {
    if (!selected) return;
    marks = [...marks.filter((one) => one.end <= selected.start || one.start >= selected.end), { ...selected, label }]
      .sort((a, b) => a.start - b.start);
    selected = null;
    show();
    changed();
    reply.focus();
  }

  function show() {
    const parts = [];
    let at = 0;
    for (const { start, end, label } of marks) {
      const marked = element("mark", { textContent: text.slice(start, end), title: label });
      marked.style.setProperty("--mark", `var(--mark-${field.labels.indexOf(label) % 6})`);
      parts.push(text.slice(at, start), marked);
      at = end;
    }
    reply.replaceChildren(...parts, text.slice(at));
    list.replaceChildren(...marks.map((one) => {
      const quoted = text.slice(one.start, one.end);
      const remove = button("✕", "quiet small", () => { marks = marks.filter((other) => other !== one); show(); changed(); reply.focus(); });
      remove.ariaLabel = `Remove the mark “${one.label}” from “${quoted}”`;
      return element("li", {}, element("strong", { textContent: one.label }), element("span", { textContent: quoted }), remove);
    }));
    for (const one of labels) one.disabled = !selected;
  }

  const follow = () => note();
  document.addEventListener("selectionchange", follow);
  show();
  return {
    nodes: [reply, element("div", { className: "labels", role: "group", ariaLabel: "Labels" }, ...labels), list],
    value: () => (marks.length ? marks.map(({ start, end, label }) => ({ start: characters(text, start), end: characters(text, end), label })) : null),
    set(value) {
      marks = (value ?? []).map(({ start, end, label }) => ({ start: units(text, start), end: units(text, end), label }));
      show();
    },
    focus: () => reply.focus(),
    digit(number) {
      if (!selected || !field.labels[number - 1]) return false;
      mark(field.labels[number - 1]);
      return true;
    },
    close: () => document.removeEventListener("selectionchange", follow),
  };
}
