// Why somebody skips or flags an item.

import { dialog } from "../dialogs.js";
import { element } from "../dom.js";
import { button } from "./server.js";

const WORDS = {
  skip: { title: "Skip this item", text: "It is given to somebody else, and not to you again. Your draft of it goes.", verb: "Skip" },
  flag: { title: "Flag this item", text: "Say what is wrong with the item itself: a broken picture, a question that makes no sense.", verb: "Flag" },
};

/** Resolves to the words, which may be none, or to null for somebody who stays. */
export function noteFor(kind) {
  const { title, text, verb } = WORDS[kind];
  return new Promise((resolve) => {
    const box = dialog("confirm note", title);
    const field = element("textarea", { rows: 2, maxLength: 2000, placeholder: "Why (optional)" });
    field.ariaLabel = "Why";
    let said = null;
    const yes = button(verb, "primary", () => { said = field.value.trim(); box.close(); });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); yes.click(); }
    });
    box.append(element("h2", { textContent: title }), element("p", { textContent: text }), field,
      element("div", { className: "choices" }, button("Stay", "", () => box.close()), yes));
    box.addEventListener("close", () => resolve(said));
    box.showModal();
    field.focus();
  });
}
