// Samples: `state` is the whole of what is seen; it is read from the address and written back to it.
const form = document.getElementById("filters"), list = document.getElementById("list");
const detail = document.getElementById("detail"), section = document.getElementById("samples");
const KEYS = ["set", "step", "seed", "left", "right", "verdict", "behaviour", "order", "search", "problem"];
let data, defaults, state, visible = [];

const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

async function unpack() {
  const packed = document.getElementById("samples-data");
  const letters = atob(packed.textContent), bytes = new Uint8Array(letters.length);
  for (let index = 0; index < letters.length; index++) bytes[index] = letters.charCodeAt(index);
  packed.remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const setOf = () => data.sets.find((set) => set.name === state.set);
const label = (method) => data.methods.find((entry) => entry.name === method).label;

/** The run on one side, or undefined: the base has one seed, and no run of its own along training. */
function runOf(method) {
  const seed = method === data.methods[0].name ? data.seeds[0] : state.seed;
  return data.runs[[state.set, method, seed, setOf().steps.length ? state.step : ""].join("/")];
}

/** The responses of a run to one problem that pass the filters: [[sample, right, text]]. */
function matching(run, index) {
  const { shown, problems } = setOf(), found = [];
  if (!run) return found;
  const behaviour = data.behaviours.indexOf(state.behaviour), search = state.search.toLowerCase();
  const named = search && problems[index].some((text) => text.toLowerCase().includes(search));
  for (let sample = 0; sample < shown; sample++) {
    const place = index * shown + sample, text = data.texts[run.texts[place]], right = run.right[place];
    if (state.verdict && right !== state.verdict) continue;
    if (behaviour >= 0 && !text[4][behaviour]) continue;
    if (search && !named && !text[0].toLowerCase().includes(search)) continue;
    found.push([sample, right === "1", text]);
  }
  return found;
}

/** A response with the words that mark its thoughts. Offsets count characters, not UTF-16 units. */
function marked([response, , , marks]) {
  const letters = [...response], pre = element("pre");
  let place = 0;
  for (let index = 0; index < marks.length; index += 3) {
    const [start, end, kind] = marks.slice(index, index + 3);
    pre.append(letters.slice(place, start).join(""));
    const word = letters.slice(start, end).join("");
    pre.append(element("mark", { class: `kind${kind}`, title: data.behaviours[kind] }, word));
    place = end;
  }
  pre.append(letters.slice(place).join(""));
  return pre;
}

function card([sample, right, text]) {
  const found = data.behaviours.flatMap((name, index) => (text[4][index] ? [`${name} ${text[4][index]}`] : []));
  const ended = text[2] ? [] : ["cut off"];
  const about = [`sample ${sample + 1}`, `${text[1]} tokens`, ...ended, ...found].join(" · ");
  const verdict = element("b", {}, right ? "right" : "wrong");
  return element("div", { class: `sample ${right ? "right" : "wrong"}` }, element("p", {}, verdict, ` · ${about}`), marked(text));
}

function side(method, index) {
  const set = setOf(), run = runOf(method), column = element("div");
  if (!run) {
    const base = method === data.methods[0].name;
    const why = base ? "The base is update 0 of every run." : "This run had ended before this update.";
    column.append(element("h4", {}, label(method)), element("p", {}, why));
    return column;
  }
  const chosen = set.steps.length || method === data.methods[0].name ? "" : `, update ${run.step}, chosen on dev`;
  const small = element("small", {}, `${chosen}: ${run.solved[index]} of ${set.n} right`);
  const found = matching(run, index);
  column.append(element("h4", {}, label(method), small), ...found.map(card));
  const all = Math.min(set.shown, set.n);
  if (found.length < all) column.append(element("p", { class: "caption" }, `${found.length} of ${all} shown here pass the filters.`));
  return column;
}

function draw() {
  const set = setOf(), [left, right] = [runOf(state.left), runOf(state.right)];
  const compared = [...new Set([state.left, state.right])]; // a method beside itself is shown once
  const solved = (run, index) => (run ? run.solved[index] : 0);
  visible = set.problems.map((_, index) => index);
  visible = visible.filter((index) => matching(left, index).length || matching(right, index).length);
  const lead = { left: 1, right: -1 }[state.order];
  if (lead) visible.sort((a, b) => lead * (solved(left, b) - solved(right, b) - solved(left, a) + solved(right, a)));
  let current = visible.find((index) => set.problems[index][0] === state.problem);
  if (current === undefined) current = visible[0];
  state.problem = current === undefined ? "" : set.problems[current][0];

  const entry = (index) => {
    const counts = compared.map(runOf).map((run) => (run ? `${run.solved[index]}/${set.n}` : "–")).join(" · ");
    const name = element("span", { class: "name" }, set.problems[index][0]);
    const made = element("button", { type: "button", role: "option", id: `option-${index}`, tabindex: -1, "aria-selected": index === current }, name, element("span", { class: "counts" }, counts));
    made.addEventListener("click", () => change({ problem: set.problems[index][0] }));
    return made;
  };
  const held = list.contains(document.activeElement); // an option that was clicked goes, its focus stays in the list
  list.replaceChildren(...(visible.length ? visible.map(entry) : [element("p", {}, "No sample passes the filters.")]));
  if (held) list.focus({ preventScroll: true });
  if (current === undefined) list.removeAttribute("aria-activedescendant");
  else list.setAttribute("aria-activedescendant", `option-${current}`);
  detail.replaceChildren();
  if (current !== undefined) {
    const sides = element("div", { class: "sides" }, ...compared.map((method) => side(method, current)));
    detail.append(element("h3", {}, set.problems[current][1]), sides);
    const chosen = list.querySelector("[aria-selected=true]"); // scroll the list, not the page
    if (chosen.offsetTop < list.scrollTop + list.offsetTop || chosen.offsetTop + chosen.offsetHeight > list.scrollTop + list.offsetTop + list.clientHeight) {
      list.scrollTop = chosen.offsetTop - list.offsetTop - list.clientHeight / 3;
    }
  }
  const problems = set.problems.length < set.total ? `the first ${set.problems.length} of ${set.total} problems` : `all ${set.total} problems`;
  const responses = set.shown < set.n ? `the first ${set.shown} of ${set.n} responses` : `all ${set.n} responses`;
  const mark = (kind) => element("mark", { class: `kind${kind}` }, data.behaviours[kind]);
  document.getElementById("passing").textContent = `${visible.length} of ${set.problems.length} problems pass the filters.`;
  document.getElementById("shown").replaceChildren(
    `The page holds ${responses} to ${problems}, nothing selected; counts such as 3/${set.n} are of all responses, left and right. Marked words: `,
    ...data.behaviours.slice(0, data.marked).flatMap((_, kind) => (kind ? [", ", mark(kind)] : [mark(kind)])), ".");
}

function options(select, values, labels = values) {
  select.replaceChildren(...values.map((value, index) => element("option", { value }, String(labels[index]))));
}

/** Puts the state into the form, the page and, unless it came from there, the address. */
function show(address = true) {
  const steps = setOf().steps;
  if (steps.length && !steps.map(String).includes(state.step)) state.step = String(steps.at(-1));
  options(form.elements.step, steps.length ? steps : [""], steps.length ? steps : ["chosen on dev"]);
  form.elements.step.disabled = !steps.length;
  for (const key of KEYS.slice(0, -1)) if (form.elements[key].value !== state[key]) form.elements[key].value = state[key];
  draw();
  const changed = KEYS.filter((key) => state[key] !== defaults[key]).map((key) => [key, state[key]]);
  if (address) history.replaceState(null, "", `#samples?${new URLSearchParams(changed)}`);
}

function change(values) {
  state = { ...state, ...values };
  show();
}

/** The state that the address asks for; what it does not know of stays as it is by default. */
function follow() {
  const [place, query] = location.hash.slice(1).split("?");
  if (place !== "samples" || query === undefined) return;
  const asked = new URLSearchParams(query);
  state = { ...defaults };
  const known = { set: data.sets.map((set) => set.name), seed: data.seeds.map(String), behaviour: ["", ...data.behaviours] };
  known.left = known.right = data.methods.map((method) => method.name);
  known.verdict = ["", "0", "1"];
  known.order = ["", "left", "right"];
  for (const key of KEYS) {
    if (asked.has(key) && (known[key] || [asked.get(key)]).includes(asked.get(key))) state[key] = asked.get(key);
  }
  show(false);
  section.scrollIntoView();
  section.focus();
}

function move(by) {
  const problems = setOf().problems, place = visible.findIndex((index) => problems[index][0] === state.problem);
  const next = visible[Math.min(Math.max(place + by, 0), visible.length - 1)];
  if (next !== undefined) change({ problem: problems[next][0] });
}

function turn(key, values, by) {
  const place = values.map(String).indexOf(state[key]);
  if (values.length) change({ [key]: String(values[(place + by + values.length) % values.length]) });
}

const ACTIONS = {
  j: () => move(1),
  k: () => move(-1),
  s: () => change({ left: state.right, right: state.left }),
  n: () => turn("seed", data.seeds, 1),
  "[": () => turn("step", setOf().steps, -1),
  "]": () => turn("step", setOf().steps, 1),
  "/": () => form.elements.search.focus(),
};

function start(unpacked) {
  data = unpacked;
  const names = data.methods.map((method) => method.name);
  const right = names.includes("grpo") ? "grpo" : names[0], others = names.filter((name) => name !== right);
  const left = others.includes("dsrl") ? "dsrl" : (others.at(-1) ?? right);
  defaults = { set: data.sets[0].name, step: "", seed: String(data.seeds[0]), left, right };
  defaults = { ...defaults, verdict: "", behaviour: "", order: "", search: "", problem: data.sets[0].problems[0][0] };
  state = { ...defaults };
  options(form.elements.set, data.sets.map((set) => set.name), data.sets.map((set) => (set.steps.length ? `${set.name}, along training` : set.name)));
  options(form.elements.seed, data.seeds);
  for (const key of ["left", "right"]) options(form.elements[key], names, data.methods.map((method) => method.label));
  form.elements.behaviour.append(...data.behaviours.map((value) => element("option", { value }, value)));
  for (const part of [form, document.querySelector(".keys"), document.getElementById("browser")]) part.hidden = false;

  form.addEventListener("input", (event) => change({ [event.target.name]: event.target.value }));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    change({ ...defaults });
  });
  list.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by) event.preventDefault(), move(by);
  });
  section.addEventListener("keydown", (event) => { // single letters act where the focus is, and nowhere else
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select")) {
      if (event.key === "Escape") section.focus();
      return;
    }
    if (ACTIONS[event.key]) event.preventDefault(), ACTIONS[event.key]();
  });
  window.addEventListener("hashchange", follow);
  show(false);
  follow();
  document.body.dataset.ready = "yes";
}

// The page is there before its samples: these are unpacked when it has been drawn.
addEventListener("load", () => setTimeout(() => unpack().then(start, (error) => {
  document.getElementById("shown").textContent = `The samples cannot be unpacked (${error.message}); a newer browser may help.`;
})));
