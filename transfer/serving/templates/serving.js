"use strict";
const at = (name) => document.getElementById(name);
const MOST = 10; // classes shown
let file = null, likely = "", turn = 0;

function tell(state, wrong = "") {
  at("state").textContent = state;
  at("wrong").textContent = wrong;
  at("wrong").hidden = !wrong;
}

function show(image, source) {
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(source);
}

// Post the image; whatever goes wrong is an Error with words for whoever looks at the page.
async function ask(address) {
  const body = new FormData();
  body.append(at("file").name, file, file.name);
  let answer;
  try {
    answer = await fetch(address, { method: "POST", body });
  } catch {
    throw new Error("The server cannot be reached.");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Error(said.error || `The server answered ${answer.status}.`);
}

const percent = (value) => `${(100 * value).toFixed(1)} %`;

function row([name, value], number) {
  const line = document.createElement("tr");
  if (number === 0) line.className = "likely";
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  const meter = document.createElement("meter");
  meter.value = value;
  meter.setAttribute("aria-label", `probability of ${name}`);
  const bar = document.createElement("td"), figure = document.createElement("td");
  bar.append(meter);
  figure.textContent = percent(value);
  line.append(head, bar, figure);
  return line;
}

async function predict(chosen) {
  const mine = ++turn; // an answer that comes after the next image was chosen is not shown
  file = chosen;
  at("found").hidden = at("shown").hidden = true;
  tell(`Looking at ${file.name} …`);
  try {
    const said = (await (await ask("/predict")).json()).predictions[0];
    if (mine !== turn) return;
    const classes = Object.entries(said.probabilities).sort((one, other) => other[1] - one[1]);
    likely = said.class;
    at("rows").replaceChildren(...classes.slice(0, MOST).map(row));
    at("more").textContent = classes.length > MOST ? ` (the ${MOST} most likely of ${classes.length} classes)` : "";
    at("likely").textContent = `${likely}, ${percent(said.probabilities[likely])}`;
    at("explain").textContent = `Show what speaks for ${likely}`;
    show(at("image"), file);
    at("image").alt = `The image ${file.name}`;
    at("found").hidden = false;
    tell(`${file.name}: ${likely}`);
  } catch (error) {
    if (mine === turn) tell("", error.message);
  }
}

async function explain() {
  const mine = turn, button = at("explain");
  button.disabled = true;
  tell("Hiding one part after the other …");
  try {
    const drawn = await (await ask(`/explain?class=${encodeURIComponent(likely)}`)).blob();
    if (mine !== turn) return;
    show(at("map"), drawn);
    at("map").alt = `The image, and beside it a map of what in it speaks for and against ${likely}`;
    at("shown").hidden = false;
    tell("The map is below.");
  } catch (error) {
    if (mine === turn) tell("", error.message);
  } finally {
    button.disabled = false;
  }
}

const drop = at("drop");
at("file").addEventListener("change", (event) => {
  if (event.target.files.length) predict(event.target.files[0]);
  event.target.value = ""; // so that the same file can be chosen again
});
at("explain").addEventListener("click", explain);
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault(); // or the browser would leave the page for the file
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) predict(event.dataTransfer.files[0]);
  });
}
