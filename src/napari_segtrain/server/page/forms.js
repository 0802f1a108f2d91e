// The dialogs of the page: a form each, which says itself why it was refused.

const SIZES = /^\d+(\s*[,x×]\s*\d+)+$/;

// A value as JSON has it, several sizes, or else text.
function parsed(text) {
  const value = text.trim();
  if (SIZES.test(value)) return value.split(/[,x×]/).map(Number);
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

// The settings of a form: fields called after a key, and lines of section.key=value.
export function overrides(form) {
  const found = {};
  for (const [name, value] of form) if (name.includes(".") && value.trim()) found[name] = parsed(value);
  for (const line of (form.get("settings") || "").split("\n").filter((line) => line.trim())) {
    const [, key, value] = line.match(/^\s*([\w.]+)\s*=(.*)$/) || [];
    if (!key) throw new Error(`${line.trim()}: write section.key=value`);
    found[key] = parsed(value);
  }
  return found;
}

// Returns what opens a dialog; `send` takes what was filled in, and throws what is wrong with it.
export function dialog(id, send) {
  const box = document.getElementById(id);
  const form = box.querySelector("form");
  const fault = box.querySelector("[role=alert]");
  const submit = box.querySelector("[type=submit]");
  box.querySelector("[type=button]").addEventListener("click", () => box.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true; // a second click must not start a second run
    try {
      await send(new FormData(form));
      form.reset();
      box.close();
    } catch (error) {
      fault.textContent = error.message;
      fault.hidden = false;
    }
    submit.disabled = false;
  });
  return (name = "") => {
    fault.hidden = true;
    for (const place of box.querySelectorAll(".name")) place.textContent = name;
    box.showModal();
  };
}
