// Boxes on the pictures of an item: drawn in the `gradio_image_annotation` component, or written as
// numbers, which the keyboard reaches. The component is one, stands in the tab from when it is first
// wanted, and is lent to the field that is shown.

import { $, act, element } from "../dom.js";
import { pictureAddress } from "./material.js";
import { button } from "./server.js";

const COLOURS = [[11, 107, 92], [212, 0, 106], [138, 90, 0], [37, 99, 235], [165, 41, 29], [124, 58, 237]];
const SIDES = [["left", 0], ["top", 1], ["right", 2], ["bottom", 3]];
let wanted = null; // what the component is to show next
let drawn = () => {}; // who is told of what was drawn

// Called by the tab's events, which run in the browser alone: see web/annotate/tab.py.
globalThis.llavaBoxes = { wanted: () => wanted, drawn: (value) => drawn(value) };

const home = () => $("#boxes-home");
const rounded = (share) => Math.round(Math.min(1, Math.max(0, share)) * 10000) / 10000;

function naturalSize(address) {
  return new Promise((done) => {
    const image = new Image();
    image.addEventListener("load", () => done({ width: image.naturalWidth, height: image.naturalHeight }));
    image.addEventListener("error", () => done(null));
    image.src = address;
  });
}

export function boxes(field, item, changed) {
  let all = []; // as the server takes them
  let shown = 0; // which picture
  let size = null; // of it, in pixels of the file that is shown
  let told = ""; // what the component was told, or said, last
  const stage = element("div", { className: "boxes-tool" });
  const list = element("ul", { className: "marks numbers" });
  const pictures = element("select", { ariaLabel: "Picture" }, ...item.pictures.map((_, index) => element("option", { value: String(index), textContent: `Picture ${index + 1}` })));
  pictures.hidden = item.pictures.length < 2;
  pictures.addEventListener("change", () => { shown = Number(pictures.value); draw(); });
  const colour = (label) => COLOURS[Math.max(0, field.labels.indexOf(label)) % COLOURS.length];
  const ofShown = () => all.filter((one) => one.picture === shown);

  /** Bring the component to what is known. */
  async function draw() {
    if (!item.pictures[shown]) return;
    const address = new URL(pictureAddress(item.pictures[shown]), location.href).href;
    size = await naturalSize(address);
    if (!size || !stage.isConnected) return;
    const value = {
      image: { path: address, url: address, orig_name: "picture.jpg", mime_type: "image/jpeg", meta: { _type: "gradio.FileData" } },
      boxes: ofShown().map(({ label, box: [x0, y0, x1, y1] }) => ({
        xmin: Math.round(x0 * size.width), ymin: Math.round(y0 * size.height),
        xmax: Math.round(x1 * size.width), ymax: Math.round(y1 * size.height), label, color: colour(label),
      })),
      orientation: 0,
    };
    told = JSON.stringify(value.boxes.map(({ xmin, ymin, xmax, ymax, label }) => [xmin, ymin, xmax, ymax, label]));
    wanted = { __type__: "update", visible: true, value, label_list: field.labels, label_colors: field.labels.map(colour) };
    drawn = take;
    stage.append(home());
    act($("#boxes-doings i"), {});
  }

  function take(value) {
    if (!value?.boxes || !size || !stage.isConnected) return;
    const found = value.boxes.map(({ xmin, ymin, xmax, ymax, label }) => [Math.round(xmin), Math.round(ymin), Math.round(xmax), Math.round(ymax), label]);
    if (JSON.stringify(found) === told) return; // it only shows what it was told
    told = JSON.stringify(found);
    const mine = found
      .map(([x0, y0, x1, y1, label]) => ({
        picture: shown, label: field.labels.includes(label) ? label : field.labels[0],
        box: [rounded(x0 / size.width), rounded(y0 / size.height), rounded(x1 / size.width), rounded(y1 / size.height)],
      }))
      .filter(({ box: [x0, y0, x1, y1] }) => x1 > x0 && y1 > y0);
    all = [...all.filter((one) => one.picture !== shown), ...mine];
    write();
    changed();
  }

  function row(one, index) {
    const label = element("select", { ariaLabel: `Label of box ${index + 1}` }, ...field.labels.map((text) => element("option", { textContent: text })));
    label.value = one.label;
    label.addEventListener("change", () => { one.label = label.value; draw(); changed(); });
    const sides = SIDES.map(([side, at]) => {
      const input = element("input", { type: "number", min: 0, max: 100, step: 0.5, value: String(Math.round(one.box[at] * 1000) / 10) });
      input.ariaLabel = `${side} of box ${index + 1}, in percent`;
      input.addEventListener("change", () => {
        one.box[at] = rounded(Number(input.value) / 100);
        const [x0, y0, x1, y1] = one.box;
        input.setCustomValidity(x1 > x0 && y1 > y0 ? "" : "A box's right and bottom are beyond its left and top.");
        draw();
        changed();
      });
      return element("label", {}, element("small", { textContent: side }), input);
    });
    const remove = button("✕", "quiet small", () => { all = all.filter((other) => other !== one); write(); draw(); changed(); add.focus(); });
    remove.ariaLabel = `Remove box ${index + 1}`;
    return element("li", {}, label, ...sides, remove);
  }
  const write = () => list.replaceChildren(...all.map((one, index) => {
    const entry = row(one, index);
    entry.hidden = one.picture !== shown;
    return entry;
  }));
  const add = button("Add a box by numbers", "small", () => {
    all.push({ picture: shown, label: field.labels[0], box: [0.25, 0.25, 0.75, 0.75] });
    write();
    draw();
    changed();
    list.querySelector("li:last-child input")?.focus();
  });
  requestAnimationFrame(draw);
  return {
    nodes: [pictures, stage, list, add],
    value: () => { const whole = all.filter(({ box: [x0, y0, x1, y1] }) => x1 > x0 && y1 > y0); return whole.length ? whole.map((one) => ({ ...one, box: [...one.box] })) : null; },
    set(value) { all = (value ?? []).map((one) => ({ ...one, box: [...one.box] })); write(); if (stage.isConnected) draw(); },
    focus: () => add.focus(),
    close() { drawn = () => {}; if (stage.contains(home())) $("#annotate").after(home()); },
  };
}
