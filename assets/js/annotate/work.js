// Work on the items of a project, one after the other.

import { ask } from "../consent.js";
import { $, element } from "../dom.js";
import { newId, post } from "../saying.js";
import { go } from "./annotate.js";
import { leadTime_s, startClock } from "./clock.js";
import { newForm } from "./form.js";
import { showGuidelines } from "./guidelines.js";
import { followKeys, showKeys } from "./keys.js";
import { newMaterial } from "./material.js";
import { showMine } from "./mine.js";
import { noteFor } from "./note.js";
import { draftsOf, keep } from "./saving.js";
import { asked, bar, button, head, plural, problem } from "./server.js";

/** Whether what somebody says may be kept; asked before they begin, not in the middle of it. */
async function mayBegin() {
  const told = await fetch("feedback/consent").then((answer) => answer.json(), () => ({}));
  if (told.keep === true) return true;
  const keep = await ask(told.loss);
  if (keep !== null) await post("consent", { keep });
  return keep === true;
}

/** What the address brought along from Prolific. */
function study() {
  const { searchParams } = new URL(location.href);
  const found = Object.fromEntries(["PROLIFIC_PID", "STUDY_ID", "SESSION_ID"]
    .filter((name) => searchParams.get(name)).map((name) => [name, searchParams.get(name)]));
  return Object.keys(found).length ? found : undefined;
}

export async function showWork(root, id) {
  root.append(element("p", { className: "waiting", role: "status", textContent: "Looking for the next item…" }));
  const project = await asked("project", { project: id });
  if (project.error) { root.replaceChildren(problem(project.error, () => go("list"))); return null; }
  if (!(await mayBegin())) {
    root.replaceChildren(problem("Annotating means that your answers are kept. You decided that they are not.", () => go("work", id)), button("Back to the projects", "", () => go("list")));
    return null;
  }
  const work = new Work(root, project);
  await work.next();
  return () => work.close();
}

class Work {
  constructor(root, project) {
    this.root = root;
    this.root.tabIndex = -1;
    this.project = project;
    this.item = null;
    this.current = null; // the item that is leased, while an earlier one is looked at
    this.past = []; // ids of those answered in this visit, newest last
    this.busy = false;
    this.stop = followKeys({
      submit: () => this.submit(), skip: () => this.leave("skip"), flag: () => this.leave("flag"),
      guidelines: () => showGuidelines(project), digit: (number, target) => this.digit(number, target),
      field: (step, target) => this.field(step, target), item: (step) => this.turn(step),
    });
  }

  /** The item that this person holds, or the next one. */
  async next() {
    await this.putAway();
    const told = await asked("next", { project: this.project.id, study: study() });
    if (told.error) { this.root.replaceChildren(problem(told.error, () => this.next())); return; }
    this.counts = { mine: told.mine, left: told.left };
    if (!told.item) { this.showEnd(told); return; }
    this.current = told.item.id;
    this.show(told.item);
  }

  /** One that was answered before, or the held one again. */
  async open(id) {
    if (id === this.item?.id) return;
    await this.putAway();
    const told = await asked("open", { item: id });
    if (told.error) { this.root.replaceChildren(problem(told.error, () => this.next())); return; }
    this.show(told.item);
  }

  show(item) {
    this.item = item;
    this.answer = null;
    const known = item.draft ?? item.annotation;
    startClock(item.draft?.lead_time_s ?? 0);
    this.form = newForm(this.project.form, item, () => { this.answer = null; this.drafts.changed(); });
    this.drafts = draftsOf(item, () => this.form.values(), leadTime_s, (state, told) => this.tell(state, told));
    this.form.set(known?.values ?? {});
    this.root.replaceChildren(this.top(), element("div", { className: "bench" }, newMaterial(item), this.side()));
    this.root.focus({ preventScroll: true });
    this.tell("", item.annotation && !item.draft ? "You answered this one: submit again to change it." : item.draft ? "Your draft" : "");
  }

  top() {
    const { mine, left } = this.counts;
    const far = element("div", { className: "far" },
      element("span", { textContent: `Item ${this.item.number} · ${mine} done · ${left} left` }), bar(mine, mine + left, `${mine} of ${mine + left} done`));
    const tools = element("div", { className: "tools-row" },
      button("Guidelines", "quiet", () => showGuidelines(this.project)),
      button("My answers", "quiet", () => showMine(this.project, (id) => this.open(id))));
    const keys = button("?", "quiet", showKeys);
    keys.ariaLabel = keys.title = "Keys";
    tools.append(keys);
    return head(this.project.name, () => go("list"), far, tools);
  }

  side() {
    this.state = element("p", { className: "state", role: "status" });
    const submit = button(this.item.id === this.current ? "Submit" : "Submit again", "primary", () => this.submit());
    submit.title = "Ctrl+Enter";
    this.again = button("Next item", "", () => this.next());
    this.again.hidden = this.item.id === this.current;
    this.actions = element("div", { className: "actions" }, this.state,
      element("div", { className: "choices" }, button("Flag", "quiet", () => this.leave("flag")), button("Skip", "quiet", () => this.leave("skip")), this.again, submit));
    const side = element("section", { className: "side" }, this.form.node, this.actions);
    side.ariaLabel = "Your answer";
    return side;
  }

  showEnd({ later, completion, mine }) {
    this.item = null;
    this.current = null;
    const text = later
      ? "Others hold the items that are left. Look again in a while."
      : mine ? `That was all: ${plural(mine, "answer")} of yours. Thank you.` : "There is nothing left for you here.";
    const end = element("div", { className: "end" }, element("h3", { textContent: later ? "Nothing just now" : "Done" }), element("p", { textContent: text }));
    if (completion) {
      const code = element("output", { className: "code", textContent: completion });
      const copy = button("Copy", "", async () => { await navigator.clipboard?.writeText(completion).catch(() => {}); copy.textContent = "Copied"; });
      end.append(element("p", { textContent: "Your completion code:" }), element("div", { className: "choices" }, code, copy));
    }
    const choices = element("div", { className: "choices" }, button("My answers", "", () => showMine(this.project, (id) => this.open(id))));
    if (later) choices.append(button("Look again", "primary", () => this.next()));
    end.append(choices);
    this.root.replaceChildren(head(this.project.name, () => go("list")), end);
    $("h3", end).tabIndex = -1;
    $("h3", end).focus();
  }

  tell(state, told) {
    if (!this.state) return;
    this.state.dataset.state = state;
    if (this.state.textContent !== told) this.state.textContent = told;
  }

  async submit() {
    if (!this.item || this.busy) return;
    const [missing] = this.form.missing();
    if (missing) { missing.complain("This one is asked for."); missing.focus(); return; }
    // The same answer sent again is the same write.
    this.answer ??= { id: newId(), values: this.form.values() };
    await this.say("submit", { ...this.answer, lead_time_s: leadTime_s() });
  }

  /** Skip or flag, with a word on why. */
  async leave(kind) {
    if (!this.item || this.busy) return;
    const note = await noteFor(kind);
    if (note === null) return;
    await this.say(kind, { id: newId(), lead_time_s: leadTime_s(), note });
  }

  async say(path, body) {
    const { item } = this;
    this.busy = true;
    this.actions.inert = true;
    await this.drafts.end();
    const told = await keep(path, { item: item.id, ...body }, (state, text) => this.tell(state, text), () => this.item === item);
    this.busy = false;
    if (this.item !== item) return;
    this.actions.inert = false;
    if (told.error) {
      this.tell("failed", told.error);
      this.complain(told.error);
      this.again.hidden = false;
      this.drafts = draftsOf(item, () => this.form.values(), leadTime_s, (state, text) => this.tell(state, text));
      return;
    }
    this.past = [...this.past.filter((id) => id !== item.id), item.id];
    await this.next();
  }

  /** A sentence of the server's that names a field stands at the field. */
  complain(sentence) {
    const name = /^values, ([a-z0-9_]+): /.exec(sentence);
    const field = name && this.form.fields.find((one) => one.name === name[1]);
    if (!field) return;
    field.complain(sentence.slice(name[0].length));
    field.focus();
  }

  digit(number, target) {
    const { fields } = this.form ?? {};
    if (!this.item) return false;
    const within = fields.find((one) => one.node.contains(target));
    const field = within ?? fields.find((one) => one.digit && one.value() === null) ?? fields.find((one) => one.digit);
    return field?.digit?.(number) ?? false;
  }

  field(step, target) {
    if (!this.item) return;
    const { fields } = this.form;
    const at = fields.findIndex((one) => one.node.contains(target));
    const to = at < 0 ? (step > 0 ? 0 : fields.length - 1) : at + step;
    fields[to]?.focus();
    fields[to]?.node.scrollIntoView({ block: "nearest" });
  }

  /** To the item before, of those answered in this visit, or back. */
  turn(step) {
    const line = [...this.past.filter((id) => id !== this.current), ...(this.current ? [this.current] : [])];
    const at = line.indexOf(this.item?.id);
    const to = line[(at < 0 ? line.length : at) + step];
    if (to) this.open(to); else if (step > 0 && this.item?.id !== this.current) this.next();
  }

  async putAway() {
    if (!this.item) return;
    const { form, drafts } = this;
    this.item = null;
    await drafts.settle();
    await drafts.end();
    form.close();
  }

  close() {
    this.stop();
    const held = this.current;
    this.putAway().then(() => { if (held) asked("release", { item: held }); });
  }
}
