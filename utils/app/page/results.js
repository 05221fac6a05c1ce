// The results: one is shown at a time, a strip of thumbnails has them all. They stay until they are removed.

import { clip, picture } from "./compare.js";
import { $, make } from "./dom.js";
import * as server from "./session.js";
import { bytes, pixels } from "./words.js";

const FORMATS = { JPG: "JPEG", TIF: "TIFF" };
const all = [];
let shown = null;

export function add(result, isFirstOfJob) {
  all.push(result);
  if (isFirstOfJob || !shown) show(result);
  else listAll();
}

export function clear() {
  all.length = 0;
  shown = null;
  show(null);
}

export function show(result) {
  shown = result;
  $("results-title").textContent = result ? "Before and after" : "An example";
  $("shown").replaceChildren(...(result ? [card(result)] : example()));
  listAll();
}

function listAll() {
  const strip = $("strip");
  strip.hidden = all.length < 2;
  strip.replaceChildren(...(strip.hidden ? [] : all.map(thumbnail)));
  $("download-all")?.remove();
  if (all.length > 1)
    $("shown").append(make("a", { id: "download-all", class: "button", href: server.archive(), download: "SRWGAN.zip" },
      `Download all ${all.length} (ZIP)`));
}

function thumbnail(result) {
  return make("button", { type: "button", "aria-pressed": result === shown, title: result.file.name,
    onclick: () => { show(result); focusOn(result); } },
  make("img", { src: result.thumbnail, alt: result.file.name }));
}

function focusOn(result) {
  $("strip").children[all.indexOf(result)]?.focus();
}

function card(result) {
  const { name, size, result_size, file } = result;
  const view = result.kind === "image"
    ? picture({ name, size: result_size, before: result.before, after: result.after })
    : clip({ name, size: result_size, source: result.after, gap: result.gap });
  const download = make("a", { class: "button primary download", href: `${file.url}?download`, download: file.name },
    `Download ${file.name}`);
  const remove = make("button", { type: "button", onclick: () => removeResult(result) }, "Remove");
  const extension = file.name.split(".").pop().toUpperCase();
  const facts = {
    Size: `${pixels(size)} → ${pixels(result_size)}`,
    File: `${FORMATS[extension] || extension}, ${bytes(file.bytes)}`,
    Made: `in ${result.seconds.toFixed(1)} s (${result.precision})`,
    With: result.fidelity ? `${result.model}, ${Math.round(100 * result.fidelity)}% faithful` : result.model,
  };
  return make("article", { class: "result", "aria-label": file.name },
    view,
    make("div", { class: "actions" }, download, remove),
    make("dl", {}, ...Object.entries(facts).map(([term, fact]) =>
      make("div", {}, make("dt", {}, term), make("dd", {}, fact)))),
    ...result.notes.map((note) => make("p", { class: "note" }, note)),
    scores(result));
}

async function removeResult(result) {
  await server.removeResult(result.id).catch(() => {});
  const place = all.indexOf(result);
  all.splice(place, 1);
  show(all[Math.min(place, all.length - 1)] || null);
  if (all.length > 1) focusOn(shown); else $("results").focus();
}

function scores({ scores: given, error_map: map }) {
  if (!Object.keys(given).length) return null;
  const cells = ({ PSNR, SSIM, LPIPS }) => [PSNR === null ? "equal" : `${PSNR.toFixed(2)} dB`, SSIM.toFixed(4), LPIPS === null ? "–" : LPIPS.toFixed(4)];
  const heads = ["Against the original", "PSNR ↑", "SSIM ↑", "LPIPS ↓"].map((head) => make("th", { scope: "col" }, head));
  const rows = Object.entries(given).map(([method, values]) =>
    make("tr", {}, make("th", { scope: "row" }, method), ...cells(values).map((cell) => make("td", {}, cell))));
  return make("div", { class: "scores" },
    make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows)),
    make("p", { class: "help" }, "PSNR and SSIM say how close the pixels are (↑ more is better), LPIPS how different it looks to an eye (↓ less is better)."),
    map && make("figure", {}, make("img", { class: "map", src: map, alt: "Map of the errors" }),
      make("figcaption", {}, "Where it differs: black is equal to the original, yellow far from it.")));
}

function example() {
  if (!server.session.settings?.example)
    return [make("p", { class: "empty" }, "Before and after will appear here.")];
  const view = picture({ name: "Example", size: [800, 600], before: "example/before", after: "example/after" });
  return [make("article", { class: "example", "aria-label": "Example" }, view,
    make("p", { class: "help" }, "Drag the line: a photo of 200 × 150 pixels, and what this page made of it. Your own results will appear here."))];
}
