// The list of conversations on the left and the settings on the right.

import { $, frame, phone } from "./dom.js";

const drawerOf = { sidebar: "#sidebar", panel: "#panel" };

export const isOpen = (name) => frame().dataset[name] === "open";

export function setDrawer(name, open, focus = false) {
  frame().dataset[name] = open ? "open" : "closed";
  for (const button of document.querySelectorAll(`[data-toggle="${name}"]`)) {
    button.setAttribute("aria-expanded", String(open));
  }
  if (!focus) return;
  const target = open
    ? $(`${drawerOf[name]} :is(button, input, textarea)`)
    : $(`#topbar [data-toggle="${name}"]`);
  target?.focus();
}

/** The drawers as they are at first; what somebody was quick to open stays open. */
export function startDrawers() {
  const { sidebar, panel } = frame().dataset;
  setDrawer("sidebar", sidebar ? isOpen("sidebar") : !phone.matches);
  setDrawer("panel", panel ? isOpen("panel") : false);
  phone.addEventListener("change", () => setDrawer("sidebar", !phone.matches));
}
