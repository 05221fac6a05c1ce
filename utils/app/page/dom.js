// Elements of the page, found and made. Text is always set as text, so that no name of a file becomes HTML.

export const $ = (id) => document.getElementById(id);

// make("a", { class: "button", href: url }, "Download") - children are elements or strings; null ones are left out.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-")) element.setAttribute(name, String(value));
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

const unsaid = [];

// What a screen reader says. The same words twice are said twice.
export function say(text) {
  $("live").textContent = "";
  if (unsaid.push(text) > 1) return; // what is said before the next frame is said together: none is lost
  requestAnimationFrame(() => { $("live").textContent = unsaid.splice(0).join(" "); });
}
