// The replies of an item, put in order: dragged by buttons, or by the arrows while one has the focus.

import { element } from "../dom.js";
import { button } from "./server.js";

export const letter = (index) => String.fromCharCode(65 + (index % 26)) + (index >= 26 ? String(Math.floor(index / 26)) : "");

export function ranking(field, item, changed) {
  let order = item.replies.map((_, index) => index);
  let said = false; // the order that replies came in is nobody's word
  const list = element("ol", { className: "ranking" });
  const agree = button("This order is right", "", () => { said = true; show(); changed(); });
  const rows = item.replies.map(({ text }, index) => {
    const up = button("↑", "quiet small", () => move(index, -1));
    const down = button("↓", "quiet small", () => move(index, 1));
    up.ariaLabel = `Reply ${letter(index)} further up`;
    down.ariaLabel = `Reply ${letter(index)} further down`;
    const row = element("li", { tabIndex: 0 },
      element("strong", { textContent: letter(index) }), element("p", { textContent: text }), element("span", { className: "moves" }, up, down));
    row.addEventListener("keydown", (event) => {
      const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!step || event.target !== row) return;
      event.preventDefault();
      event.stopPropagation();
      move(index, step);
    });
    return row;
  });

  function put(index, place) {
    order = order.filter((one) => one !== index);
    order.splice(Math.max(0, Math.min(place, order.length)), 0, index);
    said = true;
    show();
    rows[index].focus();
    changed();
  }
  const move = (index, step) => put(index, order.indexOf(index) + step);

  function show() {
    const focused = document.activeElement;
    list.replaceChildren(...order.map((index) => rows[index]));
    order.forEach((index, place) => { rows[index].ariaLabel = `Reply ${letter(index)}, place ${place + 1} of ${order.length}`; });
    list.classList.toggle("said", said);
    agree.hidden = said;
    if (focused?.isConnected && list.contains(focused)) focused.focus();
  }
  show();
  return {
    nodes: [list, agree],
    value: () => (said ? [...order] : null),
    set(value) {
      said = Array.isArray(value) && value.length === rows.length;
      order = said ? [...value] : item.replies.map((_, index) => index);
      show();
    },
    focus: () => rows[order[0]]?.focus(),
    digit(number) {
      const index = rows.indexOf(document.activeElement);
      if (index < 0 || number > rows.length) return false;
      put(index, number - 1);
      return true;
    },
  };
}
