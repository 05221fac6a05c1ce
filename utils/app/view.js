// Before and after in one place: `element` is the component that holds the results, `watch` tells of new ones.

const LARGEST_HEIGHT = 0.7; // of the window

function parts(compare) {
  const stage = compare.querySelector(".sr-stage");
  return { stage, canvas: stage.querySelector(".sr-canvas"), before: stage.querySelector(".sr-before"),
    handle: compare.querySelector(".sr-handle"), range: compare.parentElement.querySelector("input[type=range]") };
}

function layOut(compare) {
  const { stage, canvas } = parts(compare);
  const width = +compare.dataset.width, height = +compare.dataset.height, zoom = compare.dataset.zoom || "fit";
  if (!compare.clientWidth) return; // hidden
  const most = window.innerHeight * LARGEST_HEIGHT;
  const fit = Math.min(compare.clientWidth / width, most / height);
  const scale = zoom === "fit" ? fit : +zoom / window.devicePixelRatio;
  canvas.style.width = `${width * scale}px`;
  canvas.style.height = `${height * scale}px`;
  stage.style.height = `${Math.min(height * scale, most)}px`;
  canvas.classList.toggle("sr-pixels", zoom !== "fit");
  compare.classList.toggle("sr-zoomed", zoom !== "fit");
  split(compare);
}

function split(compare) {
  const { stage, canvas, before, handle, range } = parts(compare);
  const visible = Math.min(stage.clientWidth, canvas.offsetWidth);
  const place = visible * range.value / 1000;
  before.style.clipPath = `inset(0 ${canvas.offsetWidth - stage.scrollLeft - place}px 0 0)`;
  handle.style.left = `${Math.max(canvas.offsetLeft, 0) + place}px`;
}

function zoomTo(compare, zoom) {
  const { stage, canvas } = parts(compare);
  const [x, y] = [(stage.scrollLeft + stage.clientWidth / 2) / canvas.offsetWidth,
    (stage.scrollTop + stage.clientHeight / 2) / canvas.offsetHeight];
  compare.dataset.zoom = zoom;
  layOut(compare);
  stage.scrollTo(x * canvas.offsetWidth - stage.clientWidth / 2, y * canvas.offsetHeight - stage.clientHeight / 2);
  split(compare);
  for (const button of compare.parentElement.querySelectorAll("[data-zoom]"))
    if (button !== compare) button.setAttribute("aria-pressed", button.dataset.zoom === zoom);
}

function show(number) {
  for (const item of element.querySelectorAll(".sr-item")) {
    item.hidden = item.dataset.item !== number;
    for (const video of item.querySelectorAll("video")) item.hidden ? video.pause() : video.play();
  }
  for (const button of element.querySelectorAll("[data-show]"))
    button.setAttribute("aria-pressed", button.dataset.show === number);
  layOutAll();
}

function layOutAll() {
  element.querySelectorAll(".sr-compare").forEach(layOut);
}

element.addEventListener("click", (event) => {
  const zoom = event.target.closest("button[data-zoom]"), chosen = event.target.closest("[data-show]");
  if (zoom) zoomTo(zoom.closest(".sr-item").querySelector(".sr-compare"), zoom.dataset.zoom);
  if (chosen) show(chosen.dataset.show);
});

element.addEventListener("input", (event) => {
  if (event.target.type === "range") split(event.target.closest(".sr-item").querySelector(".sr-compare"));
});

element.addEventListener("scroll", (event) => {
  if (event.target.classList?.contains("sr-stage")) split(event.target.closest(".sr-compare"));
}, true);

// Dragging moves the border; in an enlarged picture the handle does, and a mouse elsewhere moves the picture.
element.addEventListener("pointerdown", (event) => {
  const compare = event.target.closest(".sr-compare");
  if (!compare || event.button) return;
  const { stage, canvas, range } = parts(compare);
  const panning = compare.classList.contains("sr-zoomed") && !event.target.closest(".sr-handle");
  if (panning && event.pointerType !== "mouse") return; // the browser scrolls
  const start = { x: event.clientX, y: event.clientY, left: stage.scrollLeft, top: stage.scrollTop };

  function move(to) {
    if (panning) {
      stage.scrollTo(start.left + start.x - to.clientX, start.top + start.y - to.clientY);
      return;
    }
    const left = stage.getBoundingClientRect().left + Math.max(canvas.offsetLeft, 0);
    const place = (to.clientX - left) / Math.min(stage.clientWidth, canvas.offsetWidth);
    range.value = Math.round(1000 * Math.min(1, Math.max(0, place)));
    split(compare);
  }
  function stop() {
    window.removeEventListener("pointermove", move);
    window.removeEventListener("pointerup", stop);
    window.removeEventListener("pointercancel", stop);
  }
  window.addEventListener("pointermove", move);
  window.addEventListener("pointerup", stop);
  window.addEventListener("pointercancel", stop);
  move(event);
});

element.addEventListener("keydown", (event) => {
  const compare = event.target.closest(".sr-compare");
  const step = { "+": 1, "=": 1, "-": -1 }[event.key];
  if (!compare || !step) return;
  const zooms = ["fit", "1", "4"], place = zooms.indexOf(compare.dataset.zoom || "fit") + step;
  zoomTo(compare, zooms[Math.min(2, Math.max(0, place))]);
});

new ResizeObserver(layOutAll).observe(element);
watch("value", () => {
  layOutAll();
  const results = element.querySelector(".sr-results");
  if (results && window.innerWidth < 768) results.scrollIntoView({ behavior: "smooth" }); // they are below all else
});
layOutAll();
