// What the tab asks the server, and the small pieces of page that its views share.

import { element } from "../dom.js";
import { postTo, writeTo } from "../saying.js";

/** Ask; the answer, with `error`, a sentence, where there is none. */
export const asked = (path, body = {}) => postTo(`annotate/${path}`, body);

/** Write; asks first whether it may be kept where that is not known. */
export const written = (path, body, anew = false) => writeTo(`annotate/${path}`, body, anew);

export function button(text, className = "", click = null) {
  const made = element("button", { type: "button", className: `button ${className}`, textContent: text });
  if (click) made.addEventListener("click", click);
  return made;
}

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** What went wrong, with a way to try again. */
export function problem(sentence, again = null) {
  const box = element("div", { className: "problem", role: "alert" }, element("p", { textContent: sentence }));
  if (again) box.append(button("Try again", "", again));
  return box;
}

/** How far something is, of all. */
export function bar(done, all, label) {
  const filled = element("span");
  filled.style.width = `${all ? (100 * Math.min(done, all)) / all : 0}%`;
  const track = element("div", { className: "bar", role: "progressbar", ariaValueNow: String(done) }, filled);
  track.ariaValueMin = "0";
  track.ariaValueMax = String(all);
  track.ariaLabel = label;
  return track;
}

/** The head of a view: a way back, a title, and what else is to be reached. */
export function head(title, back, ...more) {
  const way = button("‹ Projects", "quiet", back);
  return element("header", { className: "head" }, way, element("h2", { textContent: title }), ...more);
}
