// A picture at its full size, and "are you sure".

import { $, element, frame } from "./dom.js";

/** An empty dialog that goes when it is closed, or when somebody clicks beside it. */
export function dialog(className, label) {
  const box = element("dialog", { className });
  box.setAttribute("aria-label", label);
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  frame().append(box);
  return box;
}

/** The picture of a thumbnail, with the boxes that are drawn on it. */
export function enlarge(thumb) {
  const alt = $("img", thumb)?.alt ?? "Picture";
  const box = dialog("lightbox", alt);
  const close = element("button", { className: "icon-button", title: "Close (Esc)", textContent: "✕" });
  close.setAttribute("aria-label", "Close");
  close.addEventListener("click", () => box.close());
  const shown = element("div", { className: "boxed" }, element("img", { src: thumb.dataset.full, alt }));
  const boxes = $("svg", thumb);
  if (boxes) shown.append(boxes.cloneNode(true));
  box.append(shown, element("p", { className: "caption", textContent: alt }), close);
  box.showModal();
}

/** Ask before `then` is done; the way out, `keep`, has the focus. */
export function confirmFirst(question, { verb, keep, danger = false }, then) {
  const box = dialog("confirm", question);
  const no = element("button", { className: "button", textContent: keep });
  const yes = element("button", { className: `button ${danger ? "danger" : "primary"}`, textContent: verb });
  no.addEventListener("click", () => box.close());
  yes.addEventListener("click", () => { box.close(); then(); });
  box.append(
    element("p", { textContent: question }),
    element("div", { className: "choices" }, no, yes),
  );
  box.showModal();
  no.focus();
}
