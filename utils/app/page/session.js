// The server's side of this page: its session, and what is asked of it.

export const session = { id: null, settings: null };

export class Refusal extends Error {
  constructor(answer, status) {
    super(answer.error || "The server does not answer. Please try again.");
    this.field = answer.field || null;
    this.status = status;
  }
}

async function ask(method, path, content) {
  const body = content === undefined ? undefined : JSON.stringify(content);
  const headers = body ? { "Content-Type": "application/json" } : {};
  let response;
  try {
    response = await fetch(path, { method, body, headers });
  } catch {
    throw new Refusal({}, 0);
  }
  const isJson = (response.headers.get("content-type") || "").startsWith("application/json");
  const answer = isJson ? await response.json() : {};
  if (!response.ok) throw new Refusal(answer, response.status);
  return answer;
}

const address = (path) => `sessions/${session.id}/${path}`;

export async function open() {
  const { id, settings } = await ask("POST", "sessions");
  Object.assign(session, { id, settings });
}

export const estimate = (wish) => ask("POST", address("estimate"), wish);
export const start = (wish) => ask("POST", address("job"), wish);
export const cancel = () => ask("DELETE", address("job"));
export const sample = (name) => ask("POST", address(`samples/${name}`));
export const removeUpload = (id) => ask("DELETE", address(`uploads/${id}`));
export const removeResult = (id) => ask("DELETE", address(`results/${id}`));
export const archive = () => address("results.zip");

// Sends a file; `progress` is called with the share that has arrived. Resolves to what the server says of it.
export function upload(file, progress) {
  const request = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onload = () => request.status === 200
      ? resolve(request.response) : reject(new Refusal(request.response || {}, request.status));
    request.onerror = () => reject(new Refusal({ error: "The connection broke off. Please choose the file again." }, 0));
    request.open("POST", address("uploads"));
    request.setRequestHeader("X-Name", encodeURIComponent(file.name));
    request.send(file);
  });
  return { done, abort: () => request.abort() };
}

// Calls `heard` with each event; `lost` with true when the connection is lost, with false when it is there again;
// `gone` when the server has closed this session.
export function listen({ heard, lost, gone }) {
  const source = new EventSource(address("events"));
  source.onopen = () => lost(false);
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.type === "closed") { source.close(); gone(); } else heard(event);
  };
  source.onerror = () => source.readyState === EventSource.CLOSED ? gone() : lost(true);
}

window.addEventListener("pagehide", () => session.id && navigator.sendBeacon(address("close")));
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
