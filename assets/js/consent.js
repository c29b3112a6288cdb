// The question whether what a person says of replies may be kept.

import { dialog } from "./dialogs.js";
import { element } from "./dom.js";

let asking = null; // one question at a time, however many writes wait for the answer

/** Ask; resolves to true, false, or null for somebody who closed the question. loss: what a restart
 *  of the server may lose, in sentences. */
export function ask(loss = null) {
  asking ??= new Promise((resolve) => {
    const before = document.activeElement;
    const box = dialog("consent", "May your feedback be kept?");
    let decided = null;
    const no = element("button", { className: "button", textContent: "No, save nothing" });
    const yes = element("button", { className: "button primary", textContent: "Yes, keep it" });
    no.addEventListener("click", () => { decided = false; box.close(); });
    yes.addEventListener("click", () => { decided = true; box.close(); });
    box.append(
      element("h2", { textContent: "May your feedback be kept?" }),
      element("p", { textContent: "Whoever runs this page may use it to make the model better." }),
      element("dl", {},
        element("dt", { textContent: "Kept" }),
        element("dd", { textContent: "what you say of a reply, and the conversation around it with its pictures" }),
        element("dt", { textContent: "Not kept" }),
        element("dd", { textContent: "your address, and what a picture file tells of place, time and camera" }),
      ),
      element("p", { className: "loss", textContent: loss ?? "", hidden: !loss }),
      element("p", { className: "later", textContent: "You can see, download and delete all of it at any time: Settings, “Your feedback and data”." }),
      element("div", { className: "choices" }, no, yes),
    );
    box.addEventListener("close", () => {
      asking = null;
      resolve(decided);
      before?.focus?.();
    });
    box.showModal();
    no.focus();
  });
  return asking;
}
