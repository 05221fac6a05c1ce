// The page: from chosen files to results.

import { $, make, say } from "./dom.js";
import { Files } from "./files.js";
import * as results from "./results.js";
import * as server from "./session.js";
import { bytes, files as count, pixels, time } from "./words.js";

const ERRORS = { files: "files-error", original: "original-error", size: "size-error", width: "size-error",
  height: "size-error", model: "model-error", fidelity: "model-error" };
const SCROLLING = { behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" };

const chosen = new Files($("chosen"), { changed: changedFiles });
const original = new Files($("original-chosen"), { changed: changedFiles, most: 1 });
let working = false; // from the button until the job's end
let hasResult = false; // of this job
let movedByHand = false; // the page, since the first result came
let lastAhead = null;

// What is wished

function wish() {
  const exact = $("size").value === "exact";
  return {
    files: chosen.ready.map((file) => file.id),
    original: original.ready[0]?.id ?? null,
    model: document.querySelector("#models input:checked")?.value ?? "",
    fidelity: $("fidelity-field").hidden ? 0 : +$("fidelity").value,
    size: $("size").value,
    ...(exact ? { width: $("width").valueAsNumber, height: $("height").valueAsNumber } : {}),
    precision: $("precision").value,
    deband: $("deband").checked,
    steady: $("steady").checked,
  };
}

function changedFiles() {
  $("original-button").textContent = original.all.length ? "Choose another" : "Choose the original";
  if (chosen.all.length) wrong("files", "");
  plan();
}

let asked = 0, timer;
function plan() {
  clearTimeout(timer);
  timer = setTimeout(showPlan, 150);
}

async function showPlan() {
  const number = ++asked;
  if (working || !chosen.ready.length || !checkNumbers()) {
    if (!working) $("plan").textContent = "";
    return;
  }
  try {
    const answer = await server.estimate(wish());
    if (number === asked && !working) tellPlan(answer);
    wrong("size", "");
  } catch (error) {
    if (number === asked && error.status === 422) { wrong(error.field, error.message); $("plan").textContent = ""; }
  }
}

function tellPlan({ seconds, wait, files, note }) {
  const what = files.length === 1 ? `Becomes ${pixels(files[0].size)}` : count(files.length);
  const queue = wait > 1 ? `, ${time(wait)} of it for those before you` : "";
  $("plan").textContent = `${what} in about ${time(seconds + wait)}${queue}.`;
  wrong("original", note || "", "note");
}

function wrong(field, text, kind = "wrong") {
  const element = $(ERRORS[field] || "files-error");
  element.textContent = text;
  element.className = kind;
  for (const input of document.querySelectorAll(`input[aria-describedby~="${element.id}"]`))
    input.setAttribute("aria-invalid", Boolean(text) && kind === "wrong" && input.id === field);
}

function checkNumbers() {
  const exact = $("size").value === "exact";
  $("exact").hidden = !exact;
  for (const side of exact ? ["width", "height"] : []) {
    const value = $(side).valueAsNumber;
    if (!Number.isInteger(value) || value < 1 || value > 100_000) {
      wrong(side, `The ${side} has to be a whole number from 1 to 100,000.`);
      return false;
    }
  }
  wrong("size", "");
  return true;
}

// Work

$("wish").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (working) return;
  $("problems").replaceChildren();
  if (!chosen.ready.length && !chosen.pending.length) {
    wrong("files", "Choose a file first.");
    return;
  }
  if (!checkNumbers()) {
    $("options").open = true;
    document.querySelector("#exact [aria-invalid=true]")?.focus();
    return;
  }
  setWorking(true);
  showJob({ step: "Sending your files", name: "", number: 1, count: 1 });
  while (working && (chosen.pending.length || original.pending.length)) await new Promise((go) => setTimeout(go, 100));
  if (!working) return; // cancelled
  if (!chosen.ready.length) {
    setWorking(false);
    return;
  }
  try {
    hasResult = false;
    const { note } = await server.start(wish());
    wrong("original", note || "", "note");
    if (working && !hasResult) say("Started."); // a short job may be done before this answer comes
  } catch (error) {
    setWorking(false);
    if (error.field) wrong(error.field, error.message); else problem(error.message);
  }
});

$("cancel").addEventListener("click", async () => {
  $("start").focus(); // the button that has the focus is about to go
  await server.cancel().catch(() => {});
  if (chosen.pending.length) setWorking(false);
});

function setWorking(is) {
  working = is;
  $("start").textContent = is ? "Working …" : "Upscale";
  $("start").setAttribute("aria-disabled", is); // it keeps the focus, which "disabled" would take
  $("cancel").hidden = !is;
  $("job").hidden = !is;
  if (is) $("plan").textContent = "";
  $("job-bar").removeAttribute("value");
  lastAhead = null;
  if (!is) plan();
}

function showJob(job) {
  const { step, done, total, ahead, left, share, name, number, count: files } = job;
  $("job-file").textContent = files > 1 ? `${name} (${number} of ${files})` : name;
  $("job-left").textContent = left == null ? "" : left < 1 ? "Nearly done" : `About ${time(left)} left`;
  const bar = $("job-bar");
  if (ahead != null) {
    $("job-step").textContent = ahead ? `Waiting: ${ahead} before you` : "Waiting: you are next";
    bar.removeAttribute("value");
    if (ahead !== lastAhead) say($("job-step").textContent);
    lastAhead = ahead;
    return;
  }
  const counted = total > 1 ? `: ${done} of ${total}` : "";
  $("job-step").textContent = `${step || "Starting"}${counted} …`;
  if (share == null) bar.removeAttribute("value");
  else bar.value = Math.max(bar.value, share); // an estimate may grow, a bar does not shrink
}

function heard(event) {
  if (event.type === "state") {
    if (event.job) {
      if (!working) setWorking(true);
      showJob(event.job);
    }
  } else if (event.type === "result") {
    results.add(event, !hasResult);
    say(`${event.name} is ready: ${event.result_size[0]} by ${event.result_size[1]} pixels.`);
    if (!hasResult) {
      scrollToResults();
      movedByHand = false;
    }
    hasResult = true;
  } else if (event.type === "failed") {
    problem(event.text);
  } else if (event.type === "end") {
    setWorking(false);
    const done = event.count - event.failed;
    if (hasResult && !movedByHand) scrollToResults(); // what is above them has become shorter
    if (event.cancelled) problem("Cancelled.", "note");
    else if (event.count > 1) say(`Done: ${done} of ${event.count}.`);
    if (document.hidden && done) document.title = "Done · SRWGAN";
  }
}

for (const hand of ["wheel", "touchmove", "keydown"])
  document.addEventListener(hand, () => { movedByHand = true; }, { passive: true });

// On a narrow window they are below all else. Two frames later they are laid out.
function scrollToResults() {
  if (matchMedia("(max-width: 800px)").matches)
    requestAnimationFrame(() => requestAnimationFrame(() => $("results").scrollIntoView(SCROLLING)));
}

function problem(text, kind = "wrong") {
  $("problems").append(make("p", { class: kind }, text));
}

document.addEventListener("visibilitychange", () => { document.title = title; });
const title = document.title;

// Choosing

function choose(files) {
  const { files: most } = server.session.settings.limits;
  const room = most - chosen.ready.length - chosen.pending.length;
  const taken = [...files].slice(0, room);
  if (taken.length) chosen.add(taken);
  if (taken.length < files.length) wrong("files", `${count(most)} at once at most: the others were left out.`);
}

function listenToChoices() {
  $("files").addEventListener("change", () => { choose($("files").files); $("files").value = ""; });
  $("original").addEventListener("change", () => { original.add([...$("original").files]); $("original").value = ""; });
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
  document.addEventListener("dragover", () => $("drop").classList.add("over"));
  document.addEventListener("dragleave", (event) => event.relatedTarget || $("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    $("drop").classList.remove("over");
    const { files } = event.dataTransfer;
    if (!files.length) return;
    if ($("comparing").contains(event.target)) original.add([files[0]]); else choose(files);
  });
  document.addEventListener("paste", (event) => event.clipboardData.files.length && choose(event.clipboardData.files));
  for (const button of document.querySelectorAll("[data-sample]"))
    button.addEventListener("click", () => chosen.addSample(button.dataset.sample).catch((error) => problem(error.message)));
  for (const id of ["models", "fidelity", "options"]) $(id).addEventListener("input", () => { showFidelity(); plan(); });
}

function showModels({ models }) {
  $("models").hidden = models.length < 2;
  $("models").querySelector("div").replaceChildren(...models.map(({ name, title: words, line }, place) =>
    make("label", { class: "choice" },
      make("input", { type: "radio", name: "model", value: name, checked: place === 0, "aria-describedby": `model-${place}` }),
      make("span", {}, words, make("small", { id: `model-${place}` }, line)))));
  showFidelity();
}

function showFidelity() {
  const { models } = server.session.settings;
  const value = document.querySelector("#models input:checked")?.value;
  const model = models.find(({ name }) => name === value) || models[0];
  $("fidelity-field").hidden = !model.faithful;
  $("size").options[0].textContent = `${model.scale} times as large`;
  for (const option of $("size").options) option.hidden = option.value === String(model.scale);
  const fidelity = +$("fidelity").value;
  $("fidelity").setAttribute("aria-valuetext", fidelity === 0 ? "Sharp" : fidelity === 1 ? "Faithful" : `${Math.round(100 * fidelity)}% faithful`);
}

function showLimits({ limits }) {
  $("limits").textContent = `A file may have ${bytes(limits.bytes).replace(".0", "")} and ${limits.pixels / 1e6} megapixels; ` +
    `a GIF or video ${limits.frames.toLocaleString("en")} frames and ${limits.seconds} seconds. ` +
    "Your files are removed from the server when you close this page.";
}

// The connection

async function connect() {
  await server.open();
  const { settings } = server.session;
  showModels(settings);
  showLimits(settings);
  $("samples").hidden = settings.samples.length < 2;
  results.clear();
  server.listen({ heard, lost, gone });
  document.body.dataset.ready = "";
}

function lost(is) {
  $("connection").textContent = is ? "The connection to the server is lost. Trying again …" : "";
}

async function gone() {
  lost(false);
  setWorking(false);
  chosen.clear();
  original.clear();
  $("problems").replaceChildren();
  problem("The server has removed this page's files: it rested for a long time, or the server was started anew. Please choose your files again.");
  for (let wait = 1; ; wait = Math.min(2 * wait, 30)) {
    try {
      await connect();
      return;
    } catch {
      await new Promise((go) => setTimeout(go, 1000 * wait));
    }
  }
}

listenToChoices();
connect().catch((error) => problem(error.message));
