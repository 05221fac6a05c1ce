// Before and after in one place: a border that moves, and zoom. Of a clip both halves are drawn from one video, so
// they cannot drift apart.

import { make } from "./dom.js";

const ZOOMS = ["fit", "1", "2", "4"];
const NAMES = { fit: "Fit", 1: "100%", 2: "200%", 4: "400%" };
const LARGEST_FIT = 4; // times the result's size: a tiny picture is not blown up to a wall
const LARGEST_HEIGHT = 0.55; // of the window

// An element that compares `before` and `after`, images or canvases of a result of `size`: one over the other with a
// border that moves, or side by side. `extra` are more tools.
export function comparison({ name, before, after, size, extra = [] }) {
  const [left, right] = [0, 1].map(() => make("div", { class: "canvas" }));
  const [stageLeft, stage] = [left, right].map((canvas) => make("div", { class: "stage" }, canvas));
  right.append(after, before);
  const handle = make("div", { class: "handle", "aria-hidden": "true" });
  const range = make("input", { type: "range", min: 0, max: 1000, value: 500,
    "aria-label": "Where before ends and after begins" });
  const zooms = ZOOMS.map((zoom) => make("button", { type: "button", "data-zoom": zoom, "aria-pressed": zoom === "fit",
    onclick: () => zoomTo(zoom) }, NAMES[zoom]));
  const beside = make("button", { type: "button", class: "beside", "aria-pressed": false, onclick: putBeside }, "Side by side");
  const tags = make("div", { class: "tags", "aria-hidden": "true" }, make("span", {}, "Before"), make("span", {}, "After"));
  const frame = make("div", { class: "frame" }, stageLeft, stage, handle);
  const element = make("div", { class: "compare" }, tags, frame,
    make("div", { class: "tools" }, range, beside, make("div", { class: "zoom", role: "group", "aria-label": "Zoom" }, ...zooms)),
    ...extra);
  const [width, height] = size;
  let chosen = "fit", isBeside = false;
  stageLeft.hidden = true;
  stage.tabIndex = 0;
  stage.setAttribute("role", "group");
  stage.setAttribute("aria-label", `${name}, before and after. Plus and minus zoom.`);

  function layOut() {
    if (!frame.clientWidth) return; // hidden
    const most = window.innerHeight * LARGEST_HEIGHT;
    const fit = Math.min(stage.clientWidth / width, most / height, LARGEST_FIT);
    const scale = chosen === "fit" ? fit : chosen / window.devicePixelRatio;
    for (const canvas of [left, right]) {
      canvas.style.width = `${width * scale}px`;
      canvas.style.height = `${height * scale}px`;
      canvas.parentElement.style.height = `${Math.min(height * scale, most)}px`;
      canvas.classList.toggle("sharp", chosen !== "fit");
    }
    stage.classList.toggle("zoomed", right.offsetWidth > stage.clientWidth + 1 || right.offsetHeight > stage.clientHeight + 1);
    stageLeft.className = stage.className;
    split();
  }

  function split() {
    const visible = Math.min(stage.clientWidth, right.offsetWidth);
    const place = visible * range.value / 1000;
    before.style.clipPath = isBeside ? "" : `inset(0 ${right.offsetWidth - stage.scrollLeft - place}px 0 0)`;
    handle.style.left = `${Math.max(right.offsetLeft, 0) + place}px`;
    handle.style.height = `${stage.clientHeight}px`;
    tags.style.width = isBeside ? "" : `${Math.max(visible, 120)}px`;
    range.setAttribute("aria-valuetext", `${Math.round(range.value / 10)}% before`);
  }

  function zoomTo(zoom) {
    const x = (stage.scrollLeft + stage.clientWidth / 2) / right.offsetWidth;
    const y = (stage.scrollTop + stage.clientHeight / 2) / right.offsetHeight;
    chosen = zoom;
    layOut();
    stage.scrollTo(x * right.offsetWidth - stage.clientWidth / 2, y * right.offsetHeight - stage.clientHeight / 2);
    split();
    for (const button of zooms) button.setAttribute("aria-pressed", button.dataset.zoom === zoom);
  }

  function putBeside() {
    isBeside = !isBeside;
    beside.setAttribute("aria-pressed", isBeside);
    (isBeside ? left : right).append(before);
    element.classList.toggle("halves", isBeside);
    stageLeft.hidden = !isBeside;
    handle.hidden = range.hidden = isBeside;
    layOut();
    follow(stage, stageLeft);
  }

  const led = new WeakMap(); // where a stage was put, so that it does not lead in its turn
  function follow(from, to) {
    const place = [from.scrollLeft, from.scrollTop];
    const [left, top] = led.get(from) || [];
    led.delete(from);
    if (left === place[0] && top === place[1]) return;
    led.set(to, place);
    to.scrollTo(...place);
  }

  // Dragging moves the border; in an enlarged picture the handle does, and elsewhere a mouse moves the picture.
  function drag(event) {
    const panning = (isBeside || stage.classList.contains("zoomed")) && !event.target.closest(".handle");
    if (event.button || (panning && event.pointerType !== "mouse")) return; // a finger scrolls by itself
    const start = { x: event.clientX, y: event.clientY, left: stage.scrollLeft, top: stage.scrollTop };
    const done = new AbortController();

    function move(to) {
      if (panning) {
        stage.scrollTo(start.left + start.x - to.clientX, start.top + start.y - to.clientY);
        return;
      }
      const edge = stage.getBoundingClientRect().left + Math.max(right.offsetLeft, 0);
      const place = (to.clientX - edge) / Math.min(stage.clientWidth, right.offsetWidth);
      range.value = Math.round(1000 * Math.min(1, Math.max(0, place)));
      split();
    }
    window.addEventListener("pointermove", move, { signal: done.signal });
    for (const end of ["pointerup", "pointercancel"])
      window.addEventListener(end, () => done.abort(), { signal: done.signal });
    move(event);
  }

  frame.addEventListener("pointerdown", drag);
  stage.addEventListener("scroll", () => { split(); follow(stage, stageLeft); });
  stageLeft.addEventListener("scroll", () => follow(stageLeft, stage));
  range.addEventListener("input", split);
  stage.addEventListener("keydown", (event) => {
    const step = { "+": 1, "=": 1, "-": -1 }[event.key];
    if (step) zoomTo(ZOOMS[Math.min(ZOOMS.length - 1, Math.max(0, ZOOMS.indexOf(chosen) + step))]);
  });
  new ResizeObserver(layOut).observe(frame);
  return element;
}

export function picture({ name, before, after, size }) {
  const image = (source, kind) => make("img", { class: kind, src: source, alt: `${name} ${kind} upscaling`, draggable: "false" });
  return comparison({ name, size, before: image(before, "before"), after: image(after, "after") });
}

// `source` is a video of before and after side by side, with `gap` pixels between them.
export function clip({ name, source, gap, size }) {
  const video = make("video", { src: source, loop: true, muted: true, playsinline: true, preload: "auto",
    class: "unseen", tabindex: "-1", "aria-hidden": "true" });
  video.muted = true; // the attribute alone does not count for an element made by script
  const half = (kind) => make("canvas", { class: kind, role: "img", "aria-label": `${name} ${kind} upscaling` });
  const [before, after] = [half("before"), half("after")];

  function draw() {
    const width = (video.videoWidth - gap) / 2, height = video.videoHeight;
    if (width <= 0) return;
    for (const [canvas, left] of [[before, 0], [after, width + gap]]) {
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      canvas.getContext("2d").drawImage(video, left, 0, width, height, 0, 0, width, height);
    }
    if (!seeking) position.value = video.currentTime;
  }
  function follow() {
    draw();
    if (!element.isConnected) return;
    video.requestVideoFrameCallback ? video.requestVideoFrameCallback(follow) : requestAnimationFrame(follow);
  }

  let seeking = false;
  const position = make("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0, "aria-label": "Place in the clip" });
  const button = make("button", { type: "button", class: "play" }, "Play");
  button.addEventListener("click", () => video.paused ? video.play() : video.pause());
  position.addEventListener("input", () => { seeking = true; video.currentTime = +position.value; });
  position.addEventListener("change", () => { seeking = false; });
  for (const change of ["play", "pause"])
    video.addEventListener(change, () => { button.textContent = video.paused ? "Play" : "Pause"; });
  video.addEventListener("loadedmetadata", () => { position.max = video.duration; });
  video.addEventListener("seeked", draw);
  video.addEventListener("loadeddata", () => {
    follow();
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) video.play().catch(() => {});
  });

  const element = comparison({ name, before, after, size,
    extra: [make("div", { class: "tools" }, button, position), video] });
  return element;
}
