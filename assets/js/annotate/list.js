// The projects that somebody may open, how far each is, and how much of it is theirs.

import { element } from "../dom.js";
import { go } from "./annotate.js";
import { asked, bar, button, plural, problem } from "./server.js";

export async function showList(root) {
  root.append(element("p", { className: "waiting", role: "status", textContent: "Looking for projects…" }));
  const told = await asked("projects");
  if (told.error) {
    const sentence = told.status === 401 ? "Sign in to annotate: the button is at the top right." : told.error;
    root.replaceChildren(problem(sentence, () => go("list")));
    return;
  }
  const leads = told.role !== "annotator";
  const title = element("header", { className: "head" }, element("h2", { textContent: "Projects" }));
  if (leads) title.append(button("New project", "primary", () => go("create")));
  const list = element("ul", { className: "projects" }, ...told.projects.map(entry));
  root.replaceChildren(title, told.projects.length ? list : nothing(leads));
}

function nothing(leads) {
  const text = leads
    ? "There are no projects yet. Make one: a form, guidelines, and pictures with questions and replies."
    : "There is nothing to annotate just now. Ask whoever runs this page for the address of a project.";
  return element("p", { className: "empty", textContent: text });
}

function entry(project) {
  const { id, name, open, items, mine, left, overlap, done, leads } = project;
  const all = items * overlap;
  const told = [
    open ? "" : "Closed",
    plural(items, "item"),
    `${plural(mine, "answer")} of yours`,
    open ? `${left.toLocaleString("en")} left for you` : "",
  ].filter(Boolean).join(" · ");
  const work = button(left && open ? (mine ? "Continue" : "Start") : "Look", left && open ? "primary" : "", () => go("work", id));
  work.ariaLabel = `${work.textContent}: ${name}`;
  const choices = element("div", { className: "choices" });
  if (leads) {
    const lead = button("Manage", "", () => go("lead", id));
    lead.ariaLabel = `Manage: ${name}`;
    choices.append(lead);
  }
  choices.append(work);
  return element("li", {},
    element("div", { className: "about" }, element("h3", { textContent: name }), element("p", { textContent: told }), bar(done, all, `${done} of ${all} answers`)),
    choices);
}
