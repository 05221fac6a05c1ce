// The chosen files: each is sent at once, and is either ready or refused with the reason.

import { $, make, say } from "./dom.js";
import * as server from "./session.js";
import { bytes, pixels } from "./words.js";

const AT_ONCE = 2; // uploads
const ICONS = { image: "🖼", gif: "GIF", animation: "▶", video: "▶" };

// A list of files in the element `list`; `changed` is called when one is added, ready, refused or removed.
export class Files {
  constructor(list, { changed, most = Infinity }) {
    Object.assign(this, { list, changed, most, all: [], waiting: [], running: 0 });
  }

  get ready() { return this.all.filter((file) => file.id); }
  get pending() { return this.all.filter((file) => !file.id && !file.refused); }

  // Files of the user's, `File` objects.
  add(files) {
    if (this.most === 1) this.clear();
    else for (const file of this.all.filter((one) => one.refused)) this.remove(file); // of an earlier choice
    for (const file of files) {
      const entry = this.show({ name: file.name, url: URL.createObjectURL(file), detail: "Waiting …" });
      const { bytes: most } = server.session.settings.limits;
      if (file.size > most) this.refuse(entry, `${bytes(file.size)}. Expected at most ${bytes(most)}.`);
      else if (!file.size) this.refuse(entry, "This file is empty, or it is a folder.");
      else this.waiting.push([entry, file]);
    }
    this.next();
    this.changed();
  }

  async addSample(name) {
    this.clear();
    const answer = await server.sample(name);
    this.accept(this.show({ name: answer.name, url: answer.url }), answer);
  }

  next() {
    while (this.running < AT_ONCE && this.waiting.length) {
      const [entry, file] = this.waiting.shift();
      if (this.all.includes(entry)) this.send(entry, file);
    }
  }

  async send(entry, file) {
    this.running += 1;
    entry.upload = server.upload(file, (share) => {
      entry.bar.value = share;
      entry.detail.textContent = share < 1 ? `Sending, ${Math.round(100 * share)}%` : "Checking …";
    });
    entry.bar.hidden = false;
    try {
      const answer = await entry.upload.done;
      if (this.all.includes(entry)) this.accept(entry, answer);
      else server.removeUpload(answer.id).catch(() => {});
    } catch (error) {
      this.refuse(entry, error.message);
    }
    this.running -= 1;
    this.next();
  }

  accept(entry, { id, kind, name, width, height, frames, bytes: size }) {
    entry.id = id;
    entry.kind = kind;
    entry.icon.dataset.icon = ICONS[kind];
    entry.bar.hidden = true;
    const count = kind === "image" || !frames ? "" : ` · ${frames} frames`;
    entry.detail.textContent = `${pixels([width, height])}${count} · ${bytes(size)}`;
    this.changed();
  }

  refuse(entry, text) {
    const named = `${entry.name}: `;
    const reason = text.slice(named.length);
    entry.refused = text.startsWith(named) ? reason[0].toUpperCase() + reason.slice(1) : text;
    entry.bar.hidden = true;
    entry.detail.textContent = entry.refused;
    entry.item.classList.add("refused");
    entry.icon.dataset.icon = "✕";
    if (this.all.includes(entry)) say(`${entry.name} is refused: ${entry.refused}`);
    this.changed();
  }

  show({ name, url, detail = "" }) {
    const entry = { name, url };
    const picture = make("img", { src: url, alt: "", onerror: () => picture.remove() });
    entry.icon = make("span", { class: "icon", "data-icon": "…", "aria-hidden": "true" }, picture);
    entry.detail = make("small", {}, detail);
    entry.bar = make("progress", { max: 1, value: 0, "aria-label": `Sending ${name}`, hidden: true });
    const remove = make("button", { type: "button", class: "close", "aria-label": `Remove ${name}` }, "×");
    remove.addEventListener("click", () => this.removeByHand(entry));
    entry.item = make("li", {}, entry.icon, make("div", {}, make("span", { class: "name" }, name), entry.detail, entry.bar), remove);
    this.list.append(entry.item);
    this.all.push(entry);
    return entry;
  }

  removeByHand(entry) {
    const next = entry.item.nextElementSibling || entry.item.previousElementSibling;
    this.remove(entry);
    (next?.querySelector("button") || $(this.most === 1 ? "original" : "files")).focus();
    this.changed();
  }

  remove(entry) {
    entry.item.remove();
    this.all = this.all.filter((other) => other !== entry);
    if (entry.url.startsWith("blob:")) URL.revokeObjectURL(entry.url);
    if (entry.id) server.removeUpload(entry.id).catch(() => {});
    else entry.upload?.abort();
  }

  clear() {
    for (const entry of [...this.all]) this.remove(entry);
  }
}
