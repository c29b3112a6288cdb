// The keys of the work on items, and the dialog that shows them.

import { dialog } from "../dialogs.js";
import { $, element } from "../dom.js";
import { shownTab } from "../tabs.js";

const KEYS = [
  [["1", "…", "9"], "answer the field you are in, or the next one that is empty"],
  [["↑", "↓"], "the field before, the next field"],
  [["←", "→"], "within a field: another answer; outside: the item before, the next one"],
  [["Ctrl", "Enter"], "submit, and open the next item"],
  [["S"], "skip this item"],
  [["F"], "flag it: something is wrong with the item itself"],
  [["G"], "guidelines"],
  [["Del"], "take an answer back"],
  [["Esc"], "leave a field"],
  [["?"], "these keys"],
];

export function showKeys() {
  const box = dialog("keys", "Keys");
  const close = element("button", { type: "button", className: "button primary", textContent: "Close" });
  close.addEventListener("click", () => box.close());
  box.append(
    element("h2", { textContent: "Keys" }),
    element("dl", {}, ...KEYS.flatMap(([keys, what]) => [
      element("dt", {}, ...keys.flatMap((key) => [element("kbd", { textContent: key }), " "])),
      element("dd", { textContent: what }),
    ])),
    element("p", { textContent: "In a box on a picture: the fields beside it take numbers. In a ranking: the arrows move the reply that has the focus." }),
    element("div", { className: "choices" }, close),
  );
  box.showModal();
  close.focus();
}

const types = (target) => target.matches?.("textarea, input:not([type=radio], [type=checkbox]), select");
const marks = (target) => target.closest?.(".marked, .boxes-tool, canvas");

/** Follow the keys while work is shown; returns what stops it. */
export function followKeys(doings) {
  const plain = {
    s: doings.skip, S: doings.skip, f: doings.flag, F: doings.flag, g: doings.guidelines, G: doings.guidelines, "?": showKeys,
  };
  function pressed(event) {
    if (shownTab() !== "annotate" || $("dialog[open]") || event.isComposing) return;
    const { target, key } = event;
    if (key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); doings.submit(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (key === "Escape" && target.closest?.(".fields")) { event.preventDefault(); target.blur(); $("#annotate .work").focus(); return; }
    if (types(target)) return;
    if (/^[0-9]$/.test(key)) { if (doings.digit(Number(key), target)) event.preventDefault(); return; }
    const step = { ArrowUp: -1, ArrowDown: 1 }[key];
    if (step && !marks(target)) { event.preventDefault(); doings.field(step, target); return; }
    const turn = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (turn && !target.closest?.(".field, [role=tablist]")) { event.preventDefault(); doings.item(turn); return; }
    if (plain[key] && !marks(target)) { event.preventDefault(); plain[key](); }
  }
  addEventListener("keydown", pressed);
  return () => removeEventListener("keydown", pressed);
}
