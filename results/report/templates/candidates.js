"use strict";
// The candidates: those of one class, in another order. What is not known comes last.
const list = document.getElementById("list");
const figures = [...list.children];

function arrange() {
  const chosen = document.getElementById("class").value;
  const key = document.getElementById("order").value;
  const sign = key === "score" ? -1 : 1;
  const value = (figure) => (figure.dataset[key] === "" ? Infinity : sign * Number(figure.dataset[key]));
  const values = new Map(figures.map((figure) => [figure, value(figure)]));
  figures.sort((one, other) => (values.get(one) < values.get(other) ? -1 : values.get(one) > values.get(other) ? 1 : 0));
  let shown = 0;
  for (const figure of figures) {
    figure.hidden = chosen !== "" && figure.dataset.class !== chosen;
    shown += !figure.hidden;
  }
  list.append(...figures);
  document.getElementById("count").textContent = `${shown} shown`;
}

const filters = document.getElementById("filters");
if (filters) {
  filters.addEventListener("input", arrange);
  filters.addEventListener("change", arrange);
  filters.addEventListener("submit", (event) => event.preventDefault());
}
