// The page of `segtrain serve`: a list of runs, and one of them followed while it trains.
import { groups, panel } from "./curves.js";
import { dialog, overrides } from "./forms.js";

const at = (id) => document.getElementById(id);
let chosen = null; // name of the run that is shown
let source = null; // its stream
let rows = []; // its epochs
let drawn = false;
let active = null; // who trains in the project
let waiting = new Set(); // names of runs that were begun and do not train yet

async function ask(path, method = "GET", given = {}) {
  const body = JSON.stringify(given);
  const options = method === "GET" ? {} : { method, headers: { "Content-Type": "application/json" }, body };
  const answer = await fetch(`api/${path}`, options);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.detail || content.error);
  return content;
}

function tell(problem) {
  at("problem").hidden = !problem;
  at("problem").textContent = problem ? String(problem.message || problem) : "";
}

function cell(text, kind) {
  const made = document.createElement("td");
  if (kind) made.className = kind;
  made.append(text);
  return made;
}

const number = (value) => (Number.isFinite(value) ? Number(value.toPrecision(4)).toString() : "–");
const path = (name, more = "") => `runs/${encodeURIComponent(name)}${more}`;

async function list() {
  try {
    const { project, runs, ...now } = await ask("runs");
    active = now.active;
    at("project").textContent = project;
    at("none").hidden = runs.length > 0;
    at("runs").replaceChildren(...runs.reverse().map(line));
    if (chosen === null && runs.length) choose(runs[0].name);
    const shown = runs.find((run) => run.name === chosen);
    waiting = new Set(runs.filter((run) => run.waiting).map((run) => run.name));
    if (shown) buttons(shown.status);
    const ended = source && source.readyState === EventSource.CLOSED;
    if (shown && shown.status === "running" && ended) choose(chosen); // it was begun again
    tell(null);
  } catch (error) {
    tell(error);
  }
}

function line(run) {
  const row = document.createElement("tr");
  const button = Object.assign(document.createElement("button"), { textContent: run.name });
  const state = run.status || "damaged";
  const best = run.best ? `${run.best.monitor} ${number(run.best.value)}` : "";
  const epoch = run.status ? `${run.epoch}${run.num_epochs ? `/${run.num_epochs}` : ""}` : "";
  row.append(cell(button), cell(run.waiting ? `${state}, waits` : state, state), cell(epoch), cell(best));
  row.title = run.fault || run.message || "";
  row.setAttribute("aria-selected", run.name === chosen);
  row.addEventListener("click", () => choose(run.name));
  return row;
}

function buttons(status) {
  const waits = waiting.has(chosen) && status !== "running";
  at("stop").hidden = status !== "running" && !waits;
  at("stop").textContent = waits ? "Wait no longer" : "Stop after this batch";
  at("resume").hidden = waits || !["pending", "interrupted"].includes(status);
  at("retry").hidden = waits || !["failed", "interrupted"].includes(status);
  for (const [id, text] of [["resume", "Go on"], ["retry", "From the begin"]]) {
    at(id).textContent = active ? `${text}, when the active run has ended` : text;
  }
  at("changed").hidden = at("resume").hidden && at("retry").hidden;
  at("duplicate").hidden = !status;
  at("delete").hidden = waits || status === "running";
}

function show(status) {
  at("state").textContent = status || "damaged";
  at("state").className = status || "damaged";
  buttons(status);
}

function note(text) {
  at("notes").append(Object.assign(document.createElement("li"), { textContent: text }));
}

function picture(name, version) {
  const image = document.createElement("img");
  image.src = `api/${path(chosen, `/pictures/${encodeURIComponent(name)}`)}?v=${version}`;
  image.alt = `image, ground truth and prediction of a patch (${name})`;
  at("pictures").replaceChildren(image);
}

function draw() {
  drawn = false;
  at("curves").replaceChildren(...groups(rows).map(([title, names]) => panel(title, names, rows)));
}

function soon() {
  if (!drawn) setTimeout(draw, 50); // a replay of a long run is drawn once, not an epoch at a time
  drawn = true;
}

async function choose(name) {
  chosen = name;
  if (source) source.close();
  rows = [];
  for (const id of ["notes", "curves", "pictures"]) at(id).replaceChildren();
  for (const row of at("runs").children) row.setAttribute("aria-selected", row.cells[0].textContent === name);
  at("name").textContent = name;
  at("doing").textContent = "";
  at("progress").value = 0;
  at("run").hidden = false;
  try {
    const known = await ask(path(name));
    if (chosen !== name) return;
    show(known.run && known.run.status);
    known.faults.forEach(note);
    at("doing").textContent = (known.run && known.run.message) || "";
    at("settings").textContent = JSON.stringify(known.config, null, 2);
    if (known.pictures.length) picture(known.pictures[0].name, known.pictures[0].time);
    follow(name);
  } catch (error) {
    if (chosen === name) chosen = null; // it may have been deleted; the newest is shown next
    tell(error);
  }
}

function follow(name) {
  source = new EventSource(`api/${path(name, "/events")}`);
  const on = (kind, act) => source.addEventListener(kind, (event) => act(JSON.parse(event.data)));
  on("status_changed", ({ status }) => show(status));
  on("epoch_done", ({ epoch, num_epochs, row }) => {
    rows = [...rows.filter((old) => old.epoch < epoch), { ...row, epoch }];
    at("progress").value = epoch / num_epochs;
    at("doing").textContent = `Epoch ${epoch} of ${num_epochs} done`;
    soon();
  });
  on("progress", ({ fraction, text, seconds_left }) => {
    at("progress").value = fraction;
    at("doing").textContent = seconds_left ? `${text}, ${Math.ceil(seconds_left)} s left` : text;
  });
  on("warned", ({ message }) => note(message));
  on("debug_picture", ({ path: file, epoch }) => picture(file.split(/[\\/]/).at(-1), epoch));
  on("finished", ({ message, status }) => {
    if (status === "completed") at("progress").value = 1;
    at("doing").textContent = message;
  });
  on("end", ({ status }) => {
    source.close(); // or the browser would connect again
    if (status) show(status);
    list();
  });
}

for (const action of ["stop", "resume", "retry"]) {
  at(action).addEventListener("click", async () => {
    try {
      const again = { wait: Boolean(active), changed_data: at("changed_data").checked };
      await ask(path(chosen, `/${action}`), "POST", action === "stop" ? {} : again);
      tell(null);
      at(action).hidden = true;
      if (action === "stop") return;
      waiting.add(chosen); // as the next list will say
      choose(chosen);
    } catch (error) {
      tell(error);
    }
  });
}

async function made(where, form, more = {}) {
  const run_name = form.get("run_name").trim() || null;
  const { name } = await ask(where, "POST", { ...more, run_name, overrides: overrides(form) });
  choose(name);
  list();
}

const start = dialog("starting", (form) =>
  made("runs", form, { data: form.get("data").trim(), wait: form.has("wait") }));
const duplicate = dialog("duplicating", (form) => made(path(chosen, "/duplicate"), form));
const remove = dialog("deleting", async () => {
  await ask(path(chosen), "DELETE");
  source?.close();
  chosen = null;
  at("run").hidden = true;
  list();
});
at("new").addEventListener("click", () => start());
at("duplicate").addEventListener("click", () => duplicate(chosen));
at("delete").addEventListener("click", () => remove(chosen));

list();
setInterval(list, 2000);
