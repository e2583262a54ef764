// All that records say is text here: it reaches the page by textContent and attributes, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const ROWS_A_PAGE = 25;
const MOST_POINTS = 600;
const main = document.querySelector("main");
let printing = false;
let width = main.clientWidth;
// As in the style sheet.
const phone = matchMedia("(max-width: 699px)");
const narrow = () => phone.matches;

// Elements

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}
const html = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const hidden = (text) => html("span", { class: "hidden" }, text);

// A name may break after what joins its words.
const name = (text) => text.split(/(?<=[_/])/).flatMap((part, place) => [place ? html("wbr", {}) : null, part]);

// Numbers

const NONE = "–";
const shown = (format) => (value) => (value === null || value === undefined ? NONE : format(value));
const fixed = (digits) => shown((value) => value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
const whole = fixed(0);
// Two digits that are not zero at least.
const decimals = (value) => (value && Math.abs(value) < 0.01 ? Math.min(6, 1 - Math.floor(Math.log10(Math.abs(value)))) : 3);
const score = (value, beside = value) => fixed(decimals(beside))(value);
const percent = shown((value) => `${value && value < 0.001 ? Number((100 * value).toPrecision(2)) : value ? (100 * value).toFixed(2) : 0}\u00a0%`);
const signed = (value, digits) => (value < 0 ? "" : "+") + value.toFixed(digits);
// No end of an interval reads as zero that is none.
const nearest = ([, low, high]) => Math.min(Math.abs(low), Math.abs(high));
const digits = (difference) => (difference[1] * difference[2] > 0 && nearest(difference) < 0.0005 ? decimals(nearest(difference)) : 3);
const brief = (value) => (value >= 1e3 || (value && value < 1e-3) ? Number(value.toPrecision(3)).toLocaleString("en-US", { notation: value < 1 ? "scientific" : "compact" }) : String(Number(value.toPrecision(3))));

// Rows

// What is one system: two backbones of one name may differ in their options.
const same = (entry) => `${entry.backbone} ${entry.method}`;
for (const table of data.tables) {
  const names = Object.keys(table.entries);
  table.rows = table.entries.path.map((_, place) => {
    const row = { table, place };
    for (const name of names) row[name] = table.entries[name][place];
    const backbone = data.backbones[row.backbone];
    row.id = row.runs[0][0];
    row.settings = data.settings[row.settings];
    row.text = [data.methods[row.method], backbone.name, backbone.family, table.title, row.options, row.id,
      ...data.configs[row.config].flat(), ...data.claims[row.claims].flat(), row.standing].join(" ").toLowerCase();
    return row;
  });
}
const entries = data.tables.flatMap((table) => table.rows);
const named = (row) => `${data.methods[row.method]}${row.settings && ` (${row.settings})`} on ${data.backbones[row.backbone].name}`;

function better(table, one, other) {
  return table.lower ? one < other : one > other;
}

// Methods: one colour and shape each, wherever they are

const SHAPES = {
  circle: (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0z`,
  square: (r) => polygon(r * 0.9, [[-1, -1], [1, -1], [1, 1], [-1, 1]]),
  diamond: (r) => polygon(r * 1.25, [[0, -1], [1, 0], [0, 1], [-1, 0]]),
  cross: (r) => polygon(r * 1.1, [[-.36, -1], [.36, -1], [.36, -.36], [1, -.36], [1, .36], [.36, .36], [.36, 1], [-.36, 1], [-.36, .36], [-1, .36], [-1, -.36], [-.36, -.36]]),
  "triangle-up": (r) => polygon(r * 1.15, [[0, -1], [1, .8], [-1, .8]]),
  "triangle-down": (r) => polygon(r * 1.15, [[0, 1], [1, -.8], [-1, -.8]]),
  "triangle-right": (r) => polygon(r * 1.15, [[1, 0], [-.8, 1], [-.8, -1]]),
  "triangle-left": (r) => polygon(r * 1.15, [[-1, 0], [.8, 1], [.8, -1]]),
};
const polygon = (r, corners) => `M${corners.map(([x, y]) => `${(r * x).toFixed(2)},${(r * y).toFixed(2)}`).join("L")}z`;
const colour = (method) => `var(--method${method % data.colours})`;
const shape = (method, r) => SHAPES[data.shapes[method % data.shapes.length]](r);
const swatch = (method) => html("span", { class: "swatch", "aria-hidden": "true" },
  svg("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14" }, svg("path", { d: shape(method, 5), fill: colour(method) })));

// Tables: sorted, in pages, with what does not fit in a row below

let tables = 0;
class Table {
  // Columns: key, label, of (row's value to sort and save by), cell (what is shown); `core` are left on a phone, in that
  // order; those of the highest `rank` are the first to leave where there is no room.
  constructor(host, { name, caption, columns, details, label, id }) {
    Object.assign(this, { name, caption, columns, details, label, id, order: null, page: 0, open: new Set(), number: tables++ });
    this.count = html("span", {});
    this.previous = html("button", { type: "button", onclick: () => this.turn(-1) }, "Previous");
    this.next = html("button", { type: "button", onclick: () => this.turn(1) }, "Next");
    this.previous.hidden = this.next.hidden = true;
    this.scroll = html("div", { class: "scroll" });
    const save = html("button", { type: "button", class: "save", onclick: () => this.save(), "aria-label": `Save as CSV: ${name}` }, "CSV");
    host.append(this.scroll, html("div", { class: "tools" }, html("span", {}, this.previous, this.next, this.count), html("span", {}, save)));
  }

  update(rows) {
    this.rows = rows;
    this.page = 0;
    this.sort();
    this.render();
  }

  sort() {
    this.sorted = this.rows;
    if (!this.order) return;
    const { of } = this.columns.find((column) => column.key === this.order.key);
    const keyed = this.rows.map((row) => [of(row), row]);
    const missing = (value) => value === null || value === undefined || value === "";
    keyed.sort(([one], [other]) => {
      // What is not there is last, whichever way.
      if (missing(one) || missing(other)) return missing(one) - missing(other);
      return this.order.sign * (typeof one === "number" ? one - other : String(one).localeCompare(String(other), "en"));
    });
    this.sorted = keyed.map(([, row]) => row);
  }

  sortBy(column) {
    const { key, first = 1 } = column, sign = this.order?.key === key ? this.order.sign : null;
    // What is better first, then the other way, then as it was.
    this.order = sign === -first ? null : { key, sign: sign === first ? -first : first };
    this.page = 0;
    this.sort();
    this.render();
    this.scroll.querySelector(`[data-key="${CSS.escape(column.key)}"] button`)?.focus();
  }

  turn(by) {
    this.page += by;
    this.render();
  }

  find(id) {
    const place = this.sorted.findIndex((row) => this.id(row) === id);
    if (place < 0) return null;
    this.page = Math.floor(place / ROWS_A_PAGE);
    this.open.add(id);
    this.render();
    return document.getElementById(id);
  }

  render() {
    const known = this.width === width;
    if (!known) {
      this.width = width;
      this.shown = narrow() ? this.columns.filter((column) => column.core).sort((one, other) => one.core - other.core) : this.columns.filter((column) => column.rank < Infinity);
    }
    this.draw(this.shown);
    // What fitted before mostly does again, and to ask makes the browser lay out the page at once.
    if (known) requestAnimationFrame(() => this.fit());
    else this.fit();
  }

  fit() {
    for (let attempt = 0; attempt < 3; attempt++) {
      const room = this.scroll.clientWidth, heads = [...this.scroll.querySelectorAll("thead th")];
      let wide = this.scroll.firstChild.offsetWidth;
      if (!room || wide <= room) return;
      const places = this.shown.map((_, place) => place).filter((place) => this.shown[place].rank);
      places.sort((one, other) => this.shown[other].rank - this.shown[one].rank || other - one);
      const gone = new Set();
      for (const place of places) {
        if (wide <= room) break;
        wide -= heads[place].offsetWidth;
        gone.add(this.shown[place]);
      }
      if (!gone.size) return;
      this.shown = this.shown.filter((column) => !gone.has(column));
      this.draw(this.shown);
    }
  }

  draw(columns) {
    const size = printing ? this.sorted.length : ROWS_A_PAGE;
    const start = this.page * ROWS_A_PAGE, rows = this.sorted.slice(start, start + size);
    this.hiddenColumns = this.columns.filter((column) => !columns.includes(column));
    const head = columns.map((column) => {
      const sorted = this.order?.key === column.key ? (this.order.sign > 0 ? "ascending" : "descending") : "none";
      return html("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": sorted, "data-key": column.key },
        html("button", { type: "button", onclick: () => this.sortBy(column), title: column.help }, html("span", {}, (narrow() && column.brief) || column.label), column.below ? html("small", {}, column.below) : null));
    });
    const body = html("tbody", {}, rows.map((row) => this.row(row, columns)));
    if (!rows.length) body.append(html("tr", {}, html("td", { colspan: columns.length }, "Nothing matches.")));
    this.scroll.replaceChildren(html("table", { class: "board" }, html("caption", {}, this.caption), html("thead", {}, html("tr", {}, head)), body));
    const many = this.sorted.length;
    this.count.textContent = many > ROWS_A_PAGE ? `${whole(start + 1)} to ${whole(start + rows.length)} of ${whole(many)}` : `${whole(many)} ${many === 1 ? "row" : "rows"}`;
    this.previous.hidden = this.next.hidden = many <= ROWS_A_PAGE;
    this.previous.disabled = !this.page;
    this.next.disabled = start + size >= many;
  }

  row(row, columns) {
    const id = this.id(row), open = this.open.has(id), below = `details-${this.number}-${row.place}`;
    const more = html("button", { type: "button", class: "more", "aria-expanded": String(open), "aria-controls": open ? below : null, "aria-label": `Details of ${this.label(row)}` });
    const line = html("tr", { id: this.details.own ? id : null }, columns.map((column) => {
      const shown = column.cell(row);
      if (column.head) return html("th", { scope: "row" }, html("div", { class: "name" }, more, shown));
      const kind = [column.number ? "number" : "words", column.kind?.(row)].filter(Boolean).join(" ");
      return html("td", { class: kind }, shown);
    }));
    const toggle = () => {
      if (this.open.delete(id)) {
        line.nextSibling.remove();
        more.removeAttribute("aria-controls");
      } else {
        this.open.add(id);
        line.after(this.below(row, below, columns.length));
        more.setAttribute("aria-controls", below);
      }
      more.setAttribute("aria-expanded", String(this.open.has(id)));
    };
    // The whole row answers, as a small button is hard to hit with a finger; a text that is being marked stays marked.
    line.addEventListener("click", (event) => {
      if (event.target === more || (!event.target.closest("a, button, summary") && !String(getSelection()))) toggle();
    });
    return open ? [line, this.below(row, below, columns.length)] : line;
  }

  below(row, id, width) {
    const items = this.hiddenColumns.map((column) => [column.label, column.cell(row), false]);
    return html("tr", { class: "details", id }, html("td", { colspan: width }, html("dl", {},
      [...items, ...this.details(row)].map(([label, content, wide]) => html("div", { class: wide ? "wide" : null }, html("dt", {}, label), html("dd", {}, content))))));
  }

  save() {
    const lines = [this.columns.map((column) => column.saved ?? column.label), ...this.sorted.map((row) => this.columns.map((column) => column.of(row)))];
    for (const [place, row] of [null, ...this.sorted].entries()) lines[place].push(...(row ? this.details.saved(row) : this.details.names));
    const link = html("a", { href: URL.createObjectURL(new Blob([lines.map((cells) => cells.map(field).join(",")).join("\r\n") + "\r\n"], { type: "text/csv" })), download: `${this.name.replace(/[^\w]+/g, "_")}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
}

// A cell of a CSV file. Spreadsheets run text that begins like a formula; numbers are no text.
function field(value) {
  if (typeof value === "number") return String(value);
  const text = String(value ?? "");
  return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
}

// A section: a table of entries that may be compared, its chart and its comparisons

const AXES = [
  ["parameters", "trainable parameters", brief], ["without_head", "trainable parameters without head", brief],
  ["share", "trainable share", percent], ["share_without_head", "trainable share without head", percent],
  ["seconds", "training time (s)", brief], ["memory", "memory (MiB)", brief], ["adapter", "adapter (kB)", brief],
  ["macs", "GMAC per second of audio", brief],
];

function cost(key, label, format, rank, help) {
  return { key, label, number: true, rank, help, of: (row) => row[key], cell: (row) => format(row[key]) };
}

function columns(table) {
  const first = table.lower ? 1 : -1;
  return [
    { key: "rank", label: "Rank", saved: "rank", rank: 0, core: 3, of: (row) => row.rank, cell: (row) => [rank(row), row.front ? [" ", html("span", { title: "on the Pareto front" }, "●")] : null] },
    { key: "method", label: "Method", head: true, core: 1, rank: 0, of: (row) => data.methods[row.method], cell: (row) => [swatch(row.method), html("div", {}, html("a", { href: row.path }, name(data.methods[row.method])),
      row.probe ? html("span", { title: "not significantly better than the frozen probe of the same backbone" }, " †") : null,
      [" ", html("span", { class: row.standing === "verified" ? "tag checked" : "tag plain" }, row.standing)],
      row.settings ? html("small", {}, name(row.settings)) : null, narrow() && data.backbones.length > 1 ? html("small", {}, name(data.backbones[row.backbone].name)) : null, row.error ? html("small", {}, row.error) : null)] },
    { key: "backbone", label: "Backbone", rank: 1, of: (row) => data.backbones[row.backbone].name, cell: (row) => [name(data.backbones[row.backbone].name), data.backbones[row.backbone].pretrained ? null : [" ", html("span", { class: "tag" }, "untrained backbone")]] },
    { key: "score", label: table.metric, brief: table.metric_short, number: true, core: 2, rank: 0, first, of: (row) => row.score, cell: (row) => (row.score === null ? NONE : [
      html("b", {}, score(row.score)), row.deviation === null ? null : html("small", {}, `± ${score(row.deviation, row.score)} (${new Set(row.runs.map((run) => run[1])).size} seeds)`),
      html("small", {}, row.low === null ? "no interval" : `${score(row.low, row.score)} – ${score(row.high, row.score)}`)]) },
    { key: "difference", label: "To the first", number: true, rank: 2, first, of: (row) => row.difference?.[0] ?? null, cell: (row) => (row.difference ? [
      signed(row.difference[0], digits(row.difference)), html("small", { title: `p = ${row.difference[3]} after Holm's correction` }, `${signed(row.difference[1], digits(row.difference))} – ${signed(row.difference[2], digits(row.difference))}`)] : NONE) },
    cost("parameters", "Trainable parameters", whole, 3), cost("share", "Share", percent, 4, "of all parameters, backbone and head included"),
    cost("seconds", "Training (s)", fixed(1), 6), cost("memory", "Memory (MiB)", whole, 7), cost("adapter", "Adapter (kB)", whole, 8),
    cost("macs", "GMAC / s", fixed(2), 10, "billions of multiply-accumulates of a forward pass per second of audio"),
    cost("validation", `Validation ${table.metric}`, score, 9),
    ...table.others.map((name, place) => cost(`other${place}`, name, score, 11)),
    { key: "seeds", label: "Seeds", number: true, rank: 5, of: (row) => new Set(row.runs.map((run) => run[1])).size, cell: (row) => [...new Set(row.runs.map((run) => run[1]))].join(", ") },
    ...(table.options ? [{ key: "options", label: "Task options", rank: 4, of: (row) => row.options, cell: (row) => row.options }] : []),
    cost("without_head", "Trainable parameters without head", whole, Infinity), cost("share_without_head", "Share without head", percent, Infinity),
  ];
}

const unranked = (row) => (row.score !== null ? "not ranked" : row.parameters === null ? "failed" : "not scored");
const rank = (row) => (row.rank === null ? unranked(row) : `${row.rank}${row.tied ? "=" : ""}`);

function details(row) {
  const backbone = data.backbones[row.backbone];
  const config = data.configs[row.config].map(([name, value]) => `${name}=${value}`).join(", ");
  return [
    ...data.claims[row.claims].map(([label, text]) => [label, text, text.length > 60]),
    ["Backbone's family and revision", `${backbone.family}, ${backbone.revision.slice(0, 12)}`, false],
    ["Records", row.runs.map(([submission, seed, fold, value], place) => [place ? ", " : "", html("a", { href: `submissions/${submission}/result.json`, title: value === null ? "no score" : score(value) }, `seed ${seed}${row.table.folded ? ` (fold ${fold})` : ""}`)]), false],
    ["Made with", data.provenances[row.provenance].join(", "), true],
    ["Configuration", config || NONE, true],
  ];
}
const claimed = [...new Set(data.claims.flatMap((claims) => claims.map(([label]) => label)))];
details.own = true;
details.names = ["95 % from", "to", "deviation over seeds", "difference from", "to", "p", "configuration", "checked", "submission", ...claimed];
details.saved = (row) => [row.low, row.high, row.deviation, ...(row.difference?.slice(1) ?? ["", "", ""]), data.configs[row.config].map((pair) => pair.join("=")).join(" "), row.standing, row.id, ...claimed.map((label) => data.claims[row.claims].find(([own]) => own === label)?.[1])];

class Section {
  constructor(table) {
    this.table = table;
    this.visible = this.drawn = false;
    const heading = `title-${table.id}`;
    this.element = html("section", { id: table.id, "aria-labelledby": heading, class: table.rows.length > ROWS_A_PAGE ? "long" : null },
      html("h2", { id: heading }, table.heading, table.synthetic ? [" ", html("span", { class: "tag" }, "synthetic speech")] : null),
      html("p", { class: "quiet" }, `Test split${table.folds}, corpus `, html("code", { title: table.fingerprint }, table.fingerprint.slice(0, 8)), ` · ${table.lower ? "lower" : "higher"} is better`));
    const scored = table.rows.some((row) => row.score !== null);
    this.list = new Table(this.element, { name: table.title, caption: hidden(`Entries of ${table.title}`), columns: columns(table), details, label: named, id: (row) => row.id });
    if (scored) {
      this.element.append(html("p", { class: "quiet" }, html("small", {}, table.footnote)));
      this.chart = new Chart(this.element, table);
      this.comparisons();
    }
    this.inPrint();
    main.append(this.element);
  }

  inPrint() {
    if (!this.table.published.length) return;
    const header = (text) => html("th", { scope: "col" }, text);
    this.element.append(html("details", {}, html("summary", {}, `In print (${this.table.published.length})`),
      html("p", { class: "quiet" }, html("small", {}, "What papers have of this task, by other code: not ranked. ", data.printed_footnote)),
      html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `In print of ${this.table.title}` }, html("table", { class: "printed" },
        html("caption", {}, hidden(`Results in print of ${this.table.task}`)),
        html("thead", {}, html("tr", {}, data.printed_columns.map(header), header("source"), header("differs"))),
        html("tbody", {}, this.table.published.map((row) => html("tr", {}, row.cells.map((cell) => html("td", {}, cell)),
          html("td", {}, html("a", { href: row.link, rel: "noopener" }, row.source)), html("td", {}, row.differs))))))));
  }

  // Built when it is opened.
  comparisons() {
    const summary = html("summary", {}, "Who is better than whom");
    this.matrix = html("details", { ontoggle: () => this.compare() }, summary);
    this.element.append(this.matrix);
  }

  compare() {
    if (!this.matrix.open) return;
    while (this.matrix.childNodes.length > 1) this.matrix.lastChild.remove();
    const rows = this.rows.filter((row) => row.score !== null);
    if (!this.table.compared) {
      this.matrix.append(html("p", {}, `Pairs are shown in tables of up to ${data.most_compared} entries; this has ${whole(this.table.rows.length)}. Ranks come from all pairs all the same.`));
      return;
    }
    const cell = (one, other) => {
      if (one === other) return html("td", {});
      const [kind, mark, said] = one.better_than.includes(other.place) ? ["better", "+", "better than"]
        : other.better_than.includes(one.place) ? ["worse", "−", "worse than"] : ["", "·", "not told apart from"];
      return html("td", { class: kind || null, title: `${named(one)}: ${said} ${named(other)}` }, html("span", { "aria-hidden": "true" }, mark), hidden(said));
    };
    this.matrix.append(
      html("p", { class: "quiet" }, html("small", {}, "The row's entry is significantly better (+) or worse (−) than the column's, or not told apart (·): paired differences, 5\u00a0% for all pairs of the table together (Holm's correction).")),
      html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Comparisons of ${this.table.title}` }, html("table", { class: "matrix" },
      html("caption", {}, hidden("Whether the row's entry is better than the column's")),
      html("thead", {}, html("tr", {}, html("td", {}, hidden("Entry")), rows.map((row) => html("th", { scope: "col", title: named(row) }, String(row.place + 1), hidden(`: ${named(row)}`))))),
      html("tbody", {}, rows.map((one) => html("tr", {}, html("th", { scope: "row" }, `${one.place + 1}. `, swatch(one.method), data.methods[one.method], html("small", {}, one.settings && ` ${one.settings} `, data.backbones.length > 1 ? data.backbones[one.backbone].name : "", one.options && this.table.options ? ` ${one.options}` : "")), rows.map((other) => cell(one, other))))))));
  }

  update(rows, kept) {
    this.rows = rows;
    this.element.hidden = !kept;
    this.drawn = false;
    if (this.visible && kept) this.draw();
  }

  draw() {
    if (this.drawn) return;
    this.drawn = true;
    this.list.update(this.rows);
    if (!this.chart) return;
    const rest = () => { this.chart.draw(this.rows); this.compare(); };
    clearTimeout(this.later);
    // The table answers first.
    if (printing) rest();
    else this.later = setTimeout(rest, 60);
  }
}

// Score against cost

class Chart {
  constructor(host, table) {
    this.table = table;
    const select = (label, options) => {
      const list = html("select", { onchange: () => this.draw(this.rows) }, options.map(([value, text]) => html("option", { value }, text)));
      return [html("label", { class: "beside" }, label, list), list];
    };
    const axes = AXES.filter(([key]) => table.rows.some((row) => row[key] !== null));
    const [across, x] = select("Across", axes);
    const [up, y] = select("Up", [["score", table.metric], ...table.others.map((name, place) => [`other${place}`, name])]);
    Object.assign(this, { x, y });
    this.host = html("div", { class: "chart" });
    this.legend = html("ul", { class: "legend", "aria-label": "Methods" });
    host.append(html("div", { class: "tools chart-tools" }, html("span", {}, across, up)), this.host, this.legend,
      html("p", { class: "quiet" }, html("small", {}, "Bars: 95 % intervals. Solid lines: one method on one backbone at several budgets, of each the best on validation. Dashed line: Pareto front, ",
        "which no entry beats in both; ● in the table is that of trainable parameters.")));
  }

  draw(all) {
    this.rows = all;
    const key = this.x.value, metric = this.y.value;
    const title = AXES.find(([name]) => name === key);
    const rows = all.filter((row) => typeof row[key] === "number" && typeof row[metric] === "number");
    const methods = [...new Set(rows.map((row) => row.method))].sort((one, other) => one - other);
    this.legend.replaceChildren(...methods.map((method) => html("li", {}, swatch(method), data.methods[method])));
    if (!rows.length) return this.host.replaceChildren(html("p", { class: "quiet" }, "Nothing to draw."));
    const few = rows.length <= MOST_POINTS, intervals = few && metric === "score";
    const width = Math.max(280, Math.min(1000, this.host.clientWidth)), height = narrow() ? 270 : 350;
    const box = { left: 52, right: width - 14, top: 24, bottom: height - 46 };
    // A logarithm has no zero: it has a place of its own at the left.
    const above = rows.map((row) => row[key]).filter((value) => value > 0);
    const least = above.length ? Math.min(...above) : 1, most = above.length ? Math.max(...above) : 1;
    const zero = least / 4, zeros = above.length < rows.length;
    const ends = [Math.log(zeros ? zero : least / 1.3), Math.log(most * 1.3)];
    const across = (value) => box.left + (box.right - box.left) * (Math.log(Math.max(value, zero)) - ends[0]) / (ends[1] - ends[0]);
    const bound = (pick) => (row) => (intervals && row.low !== null ? row[pick] : row[metric]);
    let low = Math.min(...rows.map(bound("low"))), high = Math.max(...rows.map(bound("high")));
    if (high === low) [low, high] = [low - 0.05, high + 0.05];
    [low, high] = [low - (high - low) * 0.04, high + (high - low) * 0.04];
    const up = (value) => box.bottom - (box.bottom - box.top) * (value - low) / (high - low);
    const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${this.y.selectedOptions[0].text} against ${title[1]}, ${rows.length} entries; the table has the same numbers.` });
    const text = (x, y, anchor, ...children) => svg("text", { x, y, "text-anchor": anchor }, ...children);
    for (const tick of linearTicks(low, high)) drawing.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: up(tick), y2: up(tick) }), text(box.left - 8, up(tick) + 4, "end", String(tick)));
    const ticks = logTicks(Math.exp(ends[0]), most * 1.3, (box.right - box.left) / 70).filter((tick) => !zeros || tick >= least * 0.7);
    for (const [tick, label] of [...(zeros ? [[zero, "0"]] : []), ...ticks.map((tick) => [tick, title[2](tick)])]) {
      drawing.append(svg("line", { class: "grid", x1: across(tick), x2: across(tick), y1: box.bottom, y2: box.bottom + 5 }), text(across(tick), box.bottom + 19, "middle", label));
    }
    const axis = (x, y, anchor, words) => svg("text", { class: "axis", x, y, "text-anchor": anchor }, words);
    drawing.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }),
      axis(box.right, height - 6, "end", `${title[1]} (log)`), axis(0, 12, "start", `${this.y.selectedOptions[0].text}${this.table.lowers[metric] ? " (lower is better)" : ""}`));
    const place = (row) => `${across(row[key]).toFixed(1)},${up(row[metric]).toFixed(1)}`;
    const front = pareto(rows, key, metric, this.table.lowers[metric]);
    drawing.append(svg("path", { class: "front", d: front.map((row, at) => (at ? `H${across(row[key]).toFixed(1)}V${up(row[metric]).toFixed(1)}` : `M${place(row)}`)).join("") }));
    if (few) for (const curve of curves(rows, key, this.table)) drawing.append(svg("polyline", { class: "curve", stroke: colour(curve[0].method), points: curve.map(place).join(" ") }));
    for (const method of methods) {
      const own = rows.filter((row) => row.method === method);
      if (intervals) drawing.append(svg("path", { class: "interval", stroke: colour(method), d: own.filter((row) => row.low !== null).map((row) => `M${across(row[key]).toFixed(1)},${up(row.low).toFixed(1)}V${up(row.high).toFixed(1)}`).join("") }));
    }
    const mark = (row) => `translate(${place(row)})`;
    for (const method of methods) {
      const own = rows.filter((row) => row.method === method);
      if (few) drawing.append(...own.map((row) => svg("path", { class: "point", fill: colour(method), d: shape(method, 5.5), transform: mark(row) },
        svg("title", {}, `${named(row)}\nrank ${rank(row)}, ${score(row[metric])}${intervals && row.low !== null ? ` [${score(row.low, row[metric])}, ${score(row.high, row[metric])}]` : ""}\n${title[1]}: ${title[2](row[key])}`))));
      else drawing.append(svg("path", { class: "point", fill: colour(method), d: own.map((row) => `M${place(row)}m-2.5,0a2.5,2.5 0 1,0 5,0a2.5,2.5 0 1,0 -5,0z`).join("") }));
    }
    this.host.replaceChildren(drawing);
  }
}

// Those that none beats: as good at less, or better at as much.
function pareto(rows, key, metric, lower) {
  const sign = lower ? 1 : -1;
  const sorted = rows.toSorted((one, other) => one[key] - other[key] || sign * (one[metric] - other[metric]));
  let best = Infinity;
  return sorted.filter((row) => sign * row[metric] < best && ((best = sign * row[metric]), true));
}

function curves(rows, key, table) {
  const found = Map.groupBy(rows, same);
  return [...found.values()].map((own) => [...Map.groupBy(own, (row) => row[key]).values()].map((at) => chosen(table, at)).sort((one, other) => one[key] - other[key])).filter((curve) => curve.length > 1);
}

// As whoever may not look at the test split would choose.
function chosen(table, rows) {
  return rows.reduce((best, row) => (better(table, row.validation, best.validation) || (row.validation === best.validation && row.id < best.id) ? row : best));
}

function linearTicks(low, high) {
  const rough = (high - low) / 6, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((times) => power * times >= rough);
  const ticks = [];
  for (let tick = Math.ceil(low / step); tick * step <= high; tick++) ticks.push(Number((tick * step).toPrecision(6)));
  return ticks;
}

function logTicks(low, high, most) {
  for (const digits of [[1, 2, 5], [1, 3], [1]]) {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) for (const digit of digits) ticks.push(Number(`${digit}e${power}`));
    const within = ticks.filter((tick) => tick >= low && tick <= high);
    if (within.length <= most || digits.length === 1) return within.length > most ? within.filter((_, place) => place % Math.ceil(within.length / most) === 0) : within;
  }
}

// Overview: methods × tasks

class Overview {
  constructor() {
    this.tables = data.tables.filter((table) => table.rows.some((row) => row.score !== null));
    const scores = new Map(data.overall.map((row) => [same(row), row]));
    this.overall = (system, name) => scores.get(system.key)?.[name] ?? null;
    this.element = html("section", { id: "overview", "aria-labelledby": "overview-title" }, html("h2", { id: "overview-title" }, "Overview"));
    this.host = html("div", {});
    const said = ["Of each method on a backbone the entry that is best on validation, among those that the filters leave. The darker, the better its rank among these; ★ has rank 1 in the task's table."];
    if (scores.size) said.push(` Mean rank, SUPERB's score, budgets and area are of all entries, whatever the filters leave. ${data.overall_footnote}`);
    this.element.append(this.host, html("p", { class: "quiet" }, html("small", {}, said)));
    main.append(this.element);
  }

  systems(kept) {
    const found = new Map();
    for (const row of kept) {
      if (row.score === null) continue;
      const key = same(row);
      let system = found.get(key);
      if (!system) found.set(key, (system = { key, method: row.method, backbone: row.backbone, of: new Map() }));
      const before = system.of.get(row.table);
      system.of.set(row.table, before ? chosen(row.table, [before, row]) : row);
    }
    const systems = [...found.values()];
    for (const table of this.tables) {
      const rows = systems.map((system) => system.of.get(table)).filter(Boolean);
      rows.sort((one, other) => one.rank - other.rank);
      // In five steps; what shares a rank shares its colour, and one alone is neither good nor bad.
      let before = 0;
      rows.forEach((row, place) => {
        if (place && row.rank > rows[place - 1].rank) before = place;
        row.heat = rows.length > 1 ? Math.round(4 * (1 - before / (rows.length - 1))) : 2;
      });
    }
    const place = (system) => this.overall(system, "mean_rank") ?? Math.min(...[...system.of.values()].map((row) => row.rank));
    const names = (system) => `${data.backbones[system.backbone].told} ${data.methods[system.method]}`;
    systems.sort((one, other) => (other.of.size - one.of.size) || place(one) - place(other) || names(one).localeCompare(names(other)));
    systems.forEach((system, number) => { system.place = number; });
    return systems;
  }

  columns(tables) {
    const shares = (system) => [...system.of.values()].map((row) => row.share_without_head);
    const range = (system) => {
      const all = shares(system), low = percent(Math.min(...all)), high = percent(Math.max(...all));
      return low === high ? low : `${low.replace("\u00a0%", "")} – ${high}`;
    };
    const number = (key, label, format, rank, first, help) => ({ key, label, number: true, rank, first, help, of: (system) => this.overall(system, key), cell: (system) => format(this.overall(system, key)) });
    const over_all = data.overall.length ? [
      number("tasks", "Tasks", whole, 130, -1), number("mean_rank", "Mean rank", fixed(2), 12, 1), number("superb_score", "SUPERB's score", whole, 18, -1),
      ...data.budgets.map(([name], place) => number(`budget${place}`, name === "unlimited" ? "any budget" : `up to ${name.replace(" ", "\u00a0")}`, whole, 122 - place, -1, "SUPERB's score within that share of trainable parameters")),
      number("area", "Area", whole, 110, -1),
    ] : [];
    return [
      { key: "method", label: "Method", head: true, core: 1, rank: 0, of: (system) => data.methods[system.method], cell: (system) => [
        swatch(system.method), html("div", {}, name(data.methods[system.method]), narrow() && data.backbones.length > 1 ? html("small", {}, name(data.backbones[system.backbone].told)) : null)] },
      { key: "backbone", label: "Backbone", rank: 4, of: (system) => data.backbones[system.backbone].told, cell: (system) => name(data.backbones[system.backbone].told) },
      { key: "trained", label: "Trained", below: "share without head", number: true, rank: 13, of: (system) => Math.max(...shares(system)), cell: range },
      ...tables.map((table, place) => ({
        key: table.id, label: table.short, below: table.metric_short, number: true, core: 2 + place, rank: 5 + place, first: table.lower ? 1 : -1, help: table.title, saved: table.title,
        of: (system) => system.of.get(table)?.score ?? null,
        kind: (system) => (system.of.has(table) ? `heat${system.of.get(table).heat}` : null),
        cell: (system) => {
          const row = system.of.get(table);
          if (!row) return NONE;
          return [html("span", { class: row.rank === 1 ? "rank1" : null }, score(row.score)), row.rank === 1 ? hidden(" rank 1") : null];
        },
      })),
      ...over_all,
    ];
  }

  update(kept, task) {
    const tables = this.tables.filter((table) => !task || table.task === task);
    this.element.hidden = !this.tables.length;
    if (this.task !== task) {
      this.task = task;
      this.host.replaceChildren();
      const rows = Object.assign((system) => [...system.of.values()].map((row) => [row.table.heading, [
        html("a", { href: `#${encodeURIComponent(row.id)}` }, `rank ${rank(row)}`), ` · ${score(row.score)}${row.low === null ? "" : ` [${score(row.low, row.score)}, ${score(row.high, row.score)}]`} · ${percent(row.share_without_head)} trained`], false]),
        { names: [], saved: () => [] });
      this.list = new Table(this.host, { name: "SURE leaderboard overview", caption: hidden("Score of each method on each task"), columns: this.columns(tables), details: rows, label: (system) => `${data.methods[system.method]} on ${data.backbones[system.backbone].told}`, id: (system) => system.key });
    }
    this.list.update(this.systems(kept));
  }
}

// Filters, which hold for all tasks

const filters = document.querySelector("form");
const overview = new Overview();

function offer(name, options) {
  const list = filters.elements[name];
  list.append(...options.map(([value, text]) => html("option", { value }, text)));
  list.parentElement.hidden = options.length < 2;
}
const unique = (values) => [...new Set(values)].sort().map((value) => [value, value]);
offer("task", unique(data.tables.map((table) => table.task)));
offer("backbone", unique(data.backbones.map((backbone) => backbone.name)));
offer("family", unique(data.backbones.map((backbone) => backbone.family)));
offer("budget", data.budgets.filter(([, share]) => share < 1).map(([name, share]) => [share, `up to ${name}`]));
offer("standing", unique(entries.map((row) => row.standing)));

// On a phone, scores first.
if (narrow()) filters.parentElement.open = false;

const sections = data.tables.map((table) => new Section(table));
document.querySelector("nav ul").append(...(overview.tables.length ? [["overview", "Overview"]] : []).concat(data.tables.map((table) => [table.id, table.label])).map(([id, label]) => html("li", {}, html("a", { href: `#${encodeURIComponent(id)}` }, label))));

function update() {
  const { search, task, backbone, family, budget, standing } = Object.fromEntries(new FormData(filters));
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (row) => (!task || row.table.task === task) && (!backbone || data.backbones[row.backbone].name === backbone) && (!family || data.backbones[row.backbone].family === family)
    && (!budget || (row.share_without_head !== null && row.share_without_head <= Number(budget))) && (!standing || row.standing === standing) && words.every((word) => row.text.includes(word));
  const kept = entries.filter(fits);
  const of = Map.groupBy(kept, (row) => row.table);
  overview.update(kept, task);
  for (const section of sections) section.update(of.get(section.table) ?? [], of.has(section.table));
  filters.querySelector("output").textContent = kept.length === entries.length ? `${whole(entries.length)} entries` : `${whole(kept.length)} of ${whole(entries.length)} entries`;
}
filters.addEventListener("input", update);
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("reset", () => setTimeout(update));

// What is far away is drawn when it comes near.
const near = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) {
    const section = sections.find(({ element }) => element === target);
    section.visible = isIntersecting;
    if (isIntersecting) section.draw();
  }
}, { rootMargin: "200px" });

function draw_all() {
  for (const section of sections) {
    if (section.rows.length) section.draw();
  }
}

// An address with the name of an entry leads to it, wherever it is in its table.
function go() {
  const id = decodeURIComponent(location.hash.slice(1));
  const section = sections.find(({ table }) => table.id === id || table.rows.some((row) => row.id === id));
  if (!section) return;
  if (section.element.hidden || (section.table.id !== id && !section.rows.some((row) => row.id === id))) {
    for (const field of filters.elements) if (field.name) field.value = "";
    update();
  }
  draw_all();
  const line = section.table.id === id ? section.element : section.list.find(id);
  document.querySelector("tr.target")?.classList.remove("target");
  line.scrollIntoView({ block: section.table.id === id ? "start" : "center" });
  if (line !== section.element) {
    line.classList.add("target");
    line.querySelector("button.more").focus({ preventScroll: true });
  }
}

function redraw() {
  width = main.clientWidth;
  overview.list?.render();
  for (const section of sections) {
    section.drawn = false;
    if (section.visible || printing) section.draw();
  }
}
new ResizeObserver(() => {
  if (width !== main.clientWidth) redraw();
}).observe(main);
window.addEventListener("hashchange", go);
window.addEventListener("beforeprint", () => { printing = true; redraw(); draw_all(); });
window.addEventListener("afterprint", () => { printing = false; redraw(); });

update();
for (const section of sections) near.observe(section.element);
// Afterwards the browser looks for the place by itself, and would take away the focus.
if (location.hash) window.addEventListener("load", () => setTimeout(go));
document.documentElement.dataset.ready = "yes";
