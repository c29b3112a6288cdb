// What somebody has answered before, to be opened and changed.

import { dialog } from "../dialogs.js";
import { element } from "../dom.js";
import { asked, button } from "./server.js";

const PAGE = 50;

export async function showMine(project, open) {
  const box = dialog("mine-list", "My answers");
  const list = element("ul", { className: "answers" });
  const state = element("p", { role: "status", textContent: "…" });
  const more = button("Show earlier ones", "", () => load());
  const close = button("Close", "primary", () => box.close());
  let before;

  async function load() {
    more.hidden = true;
    const told = await asked("mine", { project: project.id, limit: PAGE, before });
    if (told.error) { state.textContent = told.error; return; }
    const found = told.annotations;
    state.textContent = found.length || before ? "" : "You have answered nothing here yet.";
    list.append(...found.map((one) => {
      const entry = button(`Item ${one.number}`, "quiet", () => { box.close(); open(one.item); });
      const when = element("time", { dateTime: one.at, textContent: new Date(one.at).toLocaleString() });
      return element("li", {}, entry, element("span", { className: one.outcome, textContent: one.outcome }), when);
    }));
    before = found.at(-1)?.at;
    more.hidden = found.length < PAGE;
  }
  more.hidden = true;
  box.append(element("h2", { textContent: "My answers" }), state, list, element("div", { className: "choices" }, more, close));
  box.showModal();
  close.focus();
  await load();
}
