// What a project asks of those who annotate.

import { dialog } from "../dialogs.js";
import { element } from "../dom.js";
import { button } from "./server.js";

/** The server made this of Markdown, and let safe elements through only. */
function prose(html) {
  const text = element("div", { className: "guidelines-text" });
  text.append(...new DOMParser().parseFromString(html, "text/html").body.childNodes);
  return text;
}

export function showGuidelines(project) {
  const box = dialog("guidelines", "Guidelines");
  const close = button("Close", "primary", () => box.close());
  const text = project.guidelines.trim() ? prose(project.guidelines) : element("p", { textContent: "This project has no guidelines: answer as the fields say." });
  box.append(element("h2", { textContent: project.name }), text, element("div", { className: "choices" }, close));
  box.showModal();
  close.focus({ preventScroll: true });
  box.scrollTop = 0;
}
