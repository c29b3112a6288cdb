// A project for those who lead: how far it is, what is in it, and what was said.

import { element } from "../dom.js";
import { go } from "./annotate.js";
import { asked, bar, button, head, plural, problem } from "./server.js";

const seconds = (value) => (value === null ? "–" : value < 90 ? `${Math.round(value)} s` : `${Math.round(value / 6) / 10} min`);

export async function showLead(root, id) {
  const told = await asked("progress", { project: id });
  if (told.error) { root.replaceChildren(problem(told.error, () => go("list"))); return; }
  const again = () => go("lead", id);
  const state = element("p", { className: "state", role: "status" });
  const tell = (text, failed = false) => { state.dataset.state = failed ? "failed" : "saved"; state.textContent = text; };
  root.replaceChildren(
    head(told.name, () => go("list"), ...tools(told, id, again, tell)),
    element("div", { className: "leading" }, figures(told), people(told), flags(told), adding(id, again, tell)),
    state,
  );
}

function tools(told, id, again, tell) {
  const turn = button(told.open ? "Close it" : "Open it", "", async () => {
    const answer = await asked("settings", { project: id, open: !told.open });
    if (answer.error) tell(answer.error, true); else again();
  });
  const link = new URL(location.pathname, location.href);
  link.search = new URLSearchParams({ tab: "annotate", project: id });
  const copy = button("Copy the address for annotators", "", async () => {
    await navigator.clipboard?.writeText(link.href).catch(() => {});
    tell(link.href);
  });
  const results = element("a", { className: "button", href: `annotate/results.jsonl?project=${id}`, textContent: "Results as JSONL" });
  results.setAttribute("download", "");
  return [element("div", { className: "tools-row" }, copy, results, turn)];
}

function figures({ items, overlap, finished, answers, lead_time_s, open }) {
  const shown = [
    [open ? "open" : "closed", "state"], [items, "items"], [`${finished} of ${items}`, `finished by ${plural(overlap, "person", "people")}`],
    [answers.answered, "answers"], [answers.skipped, "skipped"], [answers.flagged, "flagged"], [seconds(lead_time_s), "median time for one"],
  ];
  const list = element("dl", { className: "figures" }, ...shown.flatMap(([value, name]) => [
    element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: String(value) }))]));
  return element("section", {}, bar(finished, items, `${finished} of ${items} items finished`), list);
}

function table(title, names, rows) {
  const row = (cells, tag) => element("tr", {}, ...cells.map((cell) => element(tag, { textContent: String(cell) })));
  const body = rows.length ? rows.map((cells) => row(cells, "td")) : [row(["Nobody yet."], "td")];
  return element("section", {}, element("h3", { textContent: title }),
    element("div", { className: "table" }, element("table", {}, element("thead", {}, row(names, "th")), element("tbody", {}, ...body))));
}

const people = ({ per_annotator: rows }) => table("Annotators", ["Who", "Answers", "Skipped", "Flagged", "Median time", "Prolific"],
  rows.map((one) => [one.name, one.answered, one.skipped, one.flagged, seconds(one.lead_time_s), one.study?.PROLIFIC_PID ?? "–"]));

function flags({ flags: rows }) {
  if (!rows.length) return "";
  return table("Flags", ["Item", "Who", "Why"], rows.map((one) => [one.number, one.name, one.note || "–"]));
}

const read = (file, how) => new Promise((done, failed) => {
  const reader = new FileReader();
  reader.addEventListener("load", () => done(reader.result));
  reader.addEventListener("error", () => failed(reader.error));
  reader[how](file);
});
const formatOf = (name) => (name.endsWith(".csv") || name.endsWith(".tsv") ? "csv" : name.endsWith(".json") ? "llava" : "jsonl");

function adding(id, again, tell) {
  const rows = element("input", { type: "file", accept: ".jsonl,.json,.csv,.tsv" });
  const pictures = element("input", { type: "file", accept: "image/*", multiple: true });
  const most = element("input", { type: "number", value: 100, min: 1, max: 5000 });
  const liked = element("select", {}, ...[["", "any that were rated"], ["false", "thumb down"], ["true", "thumb up"]]
    .map(([value, textContent]) => element("option", { value, textContent })));

  async function done(button, asking) {
    button.disabled = true;
    tell("Adding…");
    const told = await asking().catch((error) => ({ error: error.message }));
    button.disabled = false;
    if (told.error) { tell(told.error, true); return; }
    tell(`${plural(told.added, "item")} added.`);
    if (told.added) again();
  }
  const add = button("Add the file", "primary", () => {
    const [file] = rows.files;
    if (!file) { tell("Choose a file of rows first.", true); return; }
    done(add, async () => {
      const found = await Promise.all([...pictures.files].map(async (one) => [one.name, await read(one, "readAsDataURL")]));
      return asked("add", { project: id, format: formatOf(file.name.toLowerCase()), file: file.name, text: await read(file, "readAsText"), pictures: Object.fromEntries(found) });
    });
  });
  const take = button("Add kept replies", "", () => done(take, () => asked("add-kept", {
    project: id, limit: Number(most.value), filter: liked.value ? { rated: true, liked: liked.value === "true" } : { rated: true },
  })));
  const entry = (text, input) => element("label", { className: "entry" }, element("span", { textContent: text }), input);
  return element("section", { className: "adding" }, element("h3", { textContent: "Add items" }),
    element("div", { className: "row" }, entry("Rows: JSONL, CSV or LLaVA's JSON", rows), entry("Their pictures", pictures), add),
    element("div", { className: "row" }, entry("From kept chats", liked), entry("At most", most), take));
}
