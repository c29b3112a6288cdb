// What an item shows: its pictures, the conversation up to what is judged, and the replies.

import { enlarge } from "../dialogs.js";
import { element } from "../dom.js";
import { letter } from "./ranking.js";

export const pictureAddress = (picture) => picture.url.replace(/^\//, "");

function picture(item, index) {
  const { width, height } = item.pictures[index];
  const label = item.pictures.length > 1 ? `Picture ${index + 1} of ${item.pictures.length}` : "The picture";
  const image = element("img", { src: pictureAddress(item.pictures[index]), alt: label, width, height });
  const shown = element("button", { type: "button", className: "picture", title: "Enlarge" }, image);
  shown.dataset.full = image.src;
  shown.addEventListener("click", () => enlarge(shown));
  return shown;
}

export function newMaterial(item) {
  const said = item.turns.map((turn) => element("div", { className: `turn ${turn.role}` },
    ...(turn.pictures ?? []).map((index) => picture(item, index)),
    element("p", { className: "speaker", textContent: turn.role === "user" ? "Question" : "Earlier reply" }),
    element("p", { className: "said", textContent: turn.text })));
  const replies = item.replies.map(({ text }, index) => element("div", { className: "turn reply" },
    element("p", { className: "speaker", textContent: item.replies.length > 1 ? `Reply ${letter(index)}` : "Reply to judge" }),
    element("p", { className: "said", textContent: text })));
  const node = element("section", { className: "material" }, ...said, ...replies);
  node.ariaLabel = "What is judged";
  return node;
}
