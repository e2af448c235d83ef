"use strict";
// The page works on the numbers in #data: it draws figures when they come into view, overlays the
// curves of the trials that are ticked, and sorts and filters the table.
const data = JSON.parse(document.getElementById("data").textContent);
const byLabel = new Map(data.trials.map((trial, at) => [trial.label, { trial, curve: data.curves[at] }]));
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
const MOST_LINES = 12; // more trials than this get one grey colour: nobody can tell them apart
const FEW_ROWS = 100;
const element = (id) => document.getElementById(id);
let selected = new Set(data.selected);

// ---- figures ----------------------------------------------------------------------------------

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const all = {
    margin: { t: 10, r: 15, b: 45, l: 60 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--text"), size: 12 }, hovermode: "closest",
    legend: { orientation: "h", y: -0.28, yanchor: "top" }, hoverlabel: { align: "left" }, ...layout,
  };
  for (const name of ["xaxis", "yaxis"]) {
    const lines = { gridcolor: colour("--line"), linecolor: colour("--line"), zeroline: false };
    all[name] = { automargin: true, ...lines, ...(layout[name] || {}) };
  }
  return all;
}

function traces(id) {
  return id.startsWith("curve-") ? curveTraces(data.charts[Number(id.slice(6))]) : data.figures[id].traces;
}

function layout(id) {
  if (!id.startsWith("curve-")) return data.figures[id].layout;
  const chart = data.charts[Number(id.slice(6))];
  const title = { text: chart.metrics[chart.metrics.length - 1] };
  return { xaxis: { title: { text: "epoch" } }, yaxis: { title, type: scaleOf(chart) } };
}

// A logarithmic axis where one steep start would press all that follows into one line.
function scaleOf(chart) {
  const values = [...selected].flatMap((label) => chart.metrics.flatMap((metric) => byLabel.get(label).curve.metrics[metric] || []));
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  if (!sorted.length || sorted[0] <= 0) return "linear";
  return sorted[sorted.length - 1] > 10 * sorted[Math.floor(sorted.length / 2)] ? "log" : "linear";
}

function draw(id) {
  element(id).dataset.drawn = "yes";
  return Plotly.react(id, traces(id), themed(layout(id)), { displayModeBar: false, responsive: true });
}

function redraw(which = () => true) {
  const plots = [...document.querySelectorAll(".plot[data-drawn]")].filter((plot) => which(plot.id));
  return Promise.all(plots.map((plot) => draw(plot.id)));
}

// A line for each ticked trial; the first of two metrics is thin with dots, the second is full.
function curveTraces(chart) {
  const labels = [...selected].filter((label) => byLabel.has(label));
  const drawn = [];
  labels.slice(0, MOST_LINES).forEach((label, at) => {
    const { trial, curve } = byLabel.get(label);
    chart.metrics.forEach((metric, which) => {
      if (!curve.metrics[metric]) return;
      const first = chart.metrics.length > 1 && which === 0;
      drawn.push({
        type: "scatter", mode: first ? "lines+markers" : "lines", x: curve.epochs, y: curve.metrics[metric],
        name: lineName(trial, chart, metric), legendgroup: label,
        line: { color: data.colours[at % data.colours.length], width: first ? 1 : 2, dash: first ? "solid" : DASHES[(Math.floor(at / data.colours.length) + Math.max(0, which - 1)) % DASHES.length] },
        marker: { size: 4, symbol: data.symbols[at % data.symbols.length] },
        hovertemplate: `${lineName(trial, chart, metric)}<br>epoch %{x}: %{y}<extra></extra>`,
      });
    });
  });
  const rest = labels.slice(MOST_LINES);
  return rest.length ? [restTrace(rest, chart), ...drawn] : drawn;
}

function lineName(trial, chart, metric) {
  const group = trial.group && !data.several ? ` ${trial.group}` : "";
  const part = chart.metrics.length > 1 ? ` ${metric.split("/").slice(0, -1).join("/") || metric}` : "";
  return `${trial.label}${group}${part}`;
}

// All other trials as one trace with gaps: a thousand traces would take many seconds.
function restTrace(labels, chart) {
  const x = [], y = [], metric = chart.metrics[chart.metrics.length - 1];
  for (const label of labels) {
    const { curve } = byLabel.get(label);
    if (curve.metrics[metric]) { x.push(...curve.epochs, null); y.push(...curve.metrics[metric], null); }
  }
  return {
    type: "scatter", mode: "lines", x, y, name: `${labels.length} more trials`, hoverinfo: "skip",
    line: { color: "rgba(127,127,127,0.35)", width: 1 }, connectgaps: false,
  };
}

// ---- downloads --------------------------------------------------------------------------------

function curveRows(chart) {
  const rows = [];
  for (const label of selected) {
    const { curve } = byLabel.get(label);
    for (const metric of chart.metrics) {
      (curve.metrics[metric] || []).forEach((value, at) => rows.push([label, metric, curve.epochs[at], value]));
    }
  }
  return { columns: ["trial", "metric", "epoch", "value"], rows };
}

function tableRows() {
  return { columns: columns.map((column) => column.name), rows: matching().map((trial) => columns.map((column) => column.value(trial))) };
}

function numbersOf(id) {
  if (id === "table") return tableRows();
  return id.startsWith("curve-") ? curveRows(data.charts[Number(id.slice(6))]) : data.figures[id];
}

function csv({ columns, rows }) {
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

function fileName(id) {
  const title = id.startsWith("curve-") ? data.charts[Number(id.slice(6))].title : id;
  const sweeps = [...new Set(data.trials.map((trial) => trial.sweep))].join("-");
  return `${sweeps}-${title}`.replace(/[^A-Za-z0-9]+/g, "-").replace(/-$/, "");
}

function save(name, type, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function saveSvg(id) {
  await draw(id);
  const paper = { paper_bgcolor: "white", plot_bgcolor: "white", "font.color": "black" };
  await Plotly.relayout(id, paper); // for a document, whatever the reader's theme is
  await Plotly.downloadImage(id, { format: "svg", width: 900, height: 560, filename: fileName(id) });
  await draw(id);
}

// ---- table ------------------------------------------------------------------------------------

const columns = [
  { name: "trial", value: (trial) => (/^\d+$/.test(trial.label) ? Number(trial.label) : trial.label) },
  { name: "state", value: (trial) => trial.state },
  { name: data.metric, value: (trial) => trial.value },
  ...data.searched.map((name) => ({ name, value: (trial) => trial.values[name] })),
  { name: "best_epoch", value: (trial) => trial.best_epoch },
  { name: "epochs", value: (trial) => trial.epochs },
  { name: "seconds", value: (trial) => trial.seconds, text: (trial) => trial.duration },
];
let order = { column: 2, rising: !data.maximize };
let showAll = false;

function compare(a, b) {
  const empty = (value) => value === null || value === undefined;
  if (empty(a) || empty(b)) return empty(a) - empty(b) || 0;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

// Each word must be found: in a cell, or as a comparison such as batch_size=8 or learning_rate<1e-3.
function matches(trial, words) {
  return words.every((word) => {
    const parts = word.match(/^([^<>=]+)(<=|>=|<|>|=)(.+)$/);
    if (!parts) return columns.some((column) => String(column.value(trial)).toLowerCase().includes(word.toLowerCase()));
    const column = columns.find((one) => one.name.toLowerCase() === parts[1].toLowerCase());
    const value = column && column.value(trial);
    if (value === null || value === undefined) return false;
    const difference = compare(value, typeof value === "number" ? Number(parts[3]) : parts[3]);
    return { "<": difference < 0, ">": difference > 0, "<=": difference <= 0, ">=": difference >= 0, "=": difference === 0 }[parts[2]];
  });
}

function matching() {
  const words = element("filter").value.trim().split(/\s+/).filter(Boolean);
  const value = columns[order.column].value, sign = order.rising ? 1 : -1;
  const absent = (trial) => value(trial) === null || value(trial) === undefined;
  return data.trials.filter((trial) => matches(trial, words)).sort((a, b) =>
    absent(a) || absent(b) ? absent(a) - absent(b) : sign * compare(value(a), value(b)));
}

function cellText(column, trial) {
  if (column.text) return column.text(trial);
  const value = column.value(trial);
  if (value === null || value === undefined) return "";
  return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(4))) : String(value);
}

function row(trial) {
  const line = document.createElement("tr");
  const tick = document.createElement("input");
  tick.type = "checkbox";
  tick.checked = selected.has(trial.label);
  tick.setAttribute("aria-label", `draw the curves of trial ${trial.label}`);
  tick.addEventListener("change", () => {
    if (tick.checked) selected.add(trial.label); else selected.delete(trial.label);
    selectionChanged();
  });
  line.insertCell().append(tick);
  for (const column of columns) {
    const cell = line.insertCell();
    cell.textContent = cellText(column, trial);
    if (typeof column.value(trial) === "number") cell.className = "number";
  }
  line.title = trial.name;
  return line;
}

function showTable() {
  const found = matching(), shown = showAll ? found : found.slice(0, FEW_ROWS);
  element("rows").replaceChildren(...shown.map(row));
  const of = found.length === data.trials.length ? "" : ` of ${data.trials.length}`;
  const first = shown.length < found.length ? `the first ${shown.length} of ` : "";
  element("shown").textContent = `${first}${found.length}${of} trials`;
  element("more").hidden = shown.length === found.length;
}

function showColumns() {
  const draws = document.createElement("th");
  draws.textContent = "draw";
  const heads = columns.map((column, at) => {
    const head = document.createElement("th"), button = document.createElement("button");
    button.type = "button";
    button.textContent = column.name + (order.column === at ? (order.rising ? " ▲" : " ▼") : "");
    head.setAttribute("aria-sort", order.column === at ? (order.rising ? "ascending" : "descending") : "none");
    button.addEventListener("click", () => {
      order = { column: at, rising: order.column === at ? !order.rising : true };
      showColumns();
      showTable();
    });
    head.append(button);
    return head;
  });
  element("columns").replaceChildren(draws, ...heads);
}

// ---- selection --------------------------------------------------------------------------------

function complete() {
  const sign = data.maximize ? -1 : 1;
  const found = data.trials.filter((trial) => trial.state === "complete" && trial.value !== null);
  return found.sort((a, b) => sign * (a.value - b.value));
}

const SELECTIONS = {
  best: () => data.selected,
  groups: () => {
    const groups = new Map();
    for (const trial of complete()) if (!groups.has(trial.group)) groups.set(trial.group, trial.label);
    return [...groups.values()];
  },
  all: () => [...complete(), ...data.trials].map((trial) => trial.label),
  shown: () => matching().map((trial) => trial.label),
};

function selectionChanged() {
  element("selection").textContent = `${selected.size} of ${data.trials.length} trials drawn`;
  redraw((id) => id.startsWith("curve-"));
}

// ---- start ------------------------------------------------------------------------------------

document.querySelectorAll("[data-select]").forEach((button) => button.addEventListener("click", () => {
  selected = new Set(SELECTIONS[button.dataset.select]());
  selectionChanged();
  showTable();
}));
document.querySelectorAll("[data-svg]").forEach((button) => button.addEventListener("click", () => saveSvg(button.dataset.svg)));
document.querySelectorAll("[data-csv]").forEach((button) => button.addEventListener("click", () =>
  save(`${fileName(button.dataset.csv)}.csv`, "text/csv", csv(numbersOf(button.dataset.csv)))));
document.querySelectorAll("[data-png]").forEach((button) => button.addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = button.closest("figure").querySelector("img").src;
  link.download = `${button.dataset.png}.png`;
  link.click();
}));
document.querySelectorAll("[data-copy]").forEach((button) => button.addEventListener("click", () => {
  getSelection().selectAllChildren(element(button.dataset.copy)); // a page from a file has no clipboard
  document.execCommand("copy");
  button.textContent = "copied";
}));
element("filter").addEventListener("input", showTable);
element("more").addEventListener("click", () => { showAll = true; showTable(); });
showColumns();
showTable();
selectionChanged();
const whenSeen = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
  whenSeen.unobserve(entry.target);
  draw(entry.target.id);
}), { rootMargin: "200px" });
document.querySelectorAll(".plot").forEach((plot) => whenSeen.observe(plot));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
addEventListener("beforeprint", () => document.querySelectorAll(".plot").forEach((plot) => draw(plot.id)));
