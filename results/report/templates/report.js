"use strict";
// The leaderboard, on a page that has one: sorted by its headings, filtered by words and conditions.
const board = document.getElementById("board");
const heads = board ? [...board.tHead.rows[0].cells] : [];
const rows = board ? [...board.tBodies[0].rows] : [];
const input = document.getElementById("filter");
const chosen = document.getElementById("status");
const OPERATORS = {
  "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b,
  "=": (a, b) => a === b, "!=": (a, b) => a !== b,
};

function valueOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
}

function sortBy(column) {
  const head = heads[column];
  const word = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  heads.forEach((one) => one.setAttribute("aria-sort", one === head ? word : "none"));
  const sign = word === "ascending" ? 1 : -1;
  const keys = new Map(rows.map((row) => [row, valueOf(row, column)]));
  rows.sort((one, other) => {
    const [a, b] = [keys.get(one), keys.get(other)];
    if (a === "" || b === "") return (a === "") - (b === ""); // nothing comes last, both ways
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return sign * (typeof a === "number" ? a - b : a.localeCompare(b));
  });
  board.tBodies[0].append(...rows);
}

// A word is looked for in the row; `name<value` compares the column of that name.
function condition(term) {
  const parts = /^(.+?)(!=|<=|>=|=|<|>)(.+)$/.exec(term);
  const column = parts ? heads.findIndex((head) => head.textContent.replace(/ /g, "_").toLowerCase() === parts[1].toLowerCase()) : -1;
  if (column < 0) return (row) => row.textContent.toLowerCase().includes(term.toLowerCase());
  return (row) => {
    const value = valueOf(row, column);
    if (value === "") return false;
    return OPERATORS[parts[2]](value, typeof value === "number" ? Number(parts[3]) : parts[3]);
  };
}

function filter() {
  const typed = input.value.replace(/\s*(!=|<=|>=|=|<|>)\s*/g, "$1"); // spaces around an operator mean nothing
  const conditions = typed.trim().split(/\s+/).filter(Boolean).map(condition);
  let shown = 0;
  for (const row of rows) {
    const isStatus = !chosen.value || row.cells[2].textContent === chosen.value;
    row.hidden = !(isStatus && conditions.every((holds) => holds(row)));
    shown += !row.hidden;
  }
  document.getElementById("shown").textContent = `${shown} of ${rows.length} trials`;
}

heads.forEach((head, column) => head.firstChild.addEventListener("click", () => sortBy(column)));
if (board) {
  document.getElementById("filters").addEventListener("input", filter);
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
  filter();
}

// The figures: one after the other, so that the page can be used meanwhile.
const figures = JSON.parse(document.getElementById("figures").textContent);
// Named one by one: among Plotly's own buttons is one that sends a figure to its makers.
const BUTTONS = [["toImage", "zoom2d", "pan2d", "resetScale2d"]];
const CONFIG = { responsive: true, displaylogo: false, showSendToCloud: false, modeBarButtons: BUTTONS };

function draw(name) {
  const { data, layout } = figures[name];
  const axis = { automargin: true, exponentformat: "power" };
  const whole = {
    font: { family: "system-ui, sans-serif", size: 12 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 55, r: 15, t: 36, b: 45 }, hovermode: "closest",
    hoverlabel: { bgcolor: "#23303c", bordercolor: "#23303c", font: { color: "#ffffff" } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: "#8c8c8c", activecolor: "#3d8fd1" },
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" },
    ...layout, xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
  };
  return Plotly.newPlot(name, data, whole, CONFIG);
}

async function drawAll() {
  for (const name of Object.keys(figures)) {
    await draw(name);
    await new Promise((go) => setTimeout(go));
  }
  document.body.dataset.drawn = "all";
}

// A trial's number in the leaderboard marks its curve; a second time takes the mark away.
let marked = null;
function mark(trial) {
  const name = "plot-curves";
  if (!figures[name]) return;
  const x = [], y = [];
  for (const trace of figures[name].data.filter((one) => one.mode === "lines")) {
    trace.customdata.forEach((who, i) => who === trial && (x.push(trace.x[i]), y.push(trace.y[i])));
  }
  if (marked !== null) Plotly.deleteTraces(name, -1);
  marked = marked === trial || !x.length ? null : trial;
  if (marked === null) return;
  const line = { color: "#d2452f", width: 4 };
  Plotly.addTraces(name, { x, y, line, mode: "lines+markers", name: `trial ${trial}` });
  document.getElementById(name).scrollIntoView({ block: "center" });
}
board?.tBodies[0].addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) mark(Number(button.textContent));
});

// Paper is narrower than a screen, and figures do not follow it by themselves.
function fit(width) {
  document.body.style.width = width;
  document.documentElement.classList.toggle("paper", width !== "");
  for (const plot of document.querySelectorAll(".js-plotly-plot")) Plotly.relayout(plot, { width: plot.clientWidth });
}
window.addEventListener("beforeprint", () => fit("1000px"));
window.addEventListener("afterprint", () => {
  fit("");
  for (const plot of document.querySelectorAll(".js-plotly-plot")) Plotly.relayout(plot, { autosize: true });
});
drawAll();
