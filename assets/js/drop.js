// Pictures dropped anywhere on the page go to the composer.

import { $, closest, composer, frame } from "./dom.js";

let depth = 0; // elements that the drag has entered and not left
const bringsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
const show = (on) => frame().toggleAttribute("data-dropping", on);

addEventListener("dragenter", (event) => {
  if (bringsFiles(event)) { depth += 1; show(true); }
});
addEventListener("dragleave", (event) => {
  if (bringsFiles(event) && --depth <= 0) { depth = 0; show(false); }
});
addEventListener("dragover", (event) => { if (bringsFiles(event)) event.preventDefault(); });
addEventListener("drop", (event) => {
  depth = 0;
  show(false);
  if (!bringsFiles(event) || closest(event, composer())) return;
  const input = $(`${composer()} input[type="file"]`);
  if (!input) return;
  event.preventDefault();
  const transfer = new DataTransfer();
  for (const file of event.dataTransfer.files) transfer.items.add(file);
  input.files = transfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});
