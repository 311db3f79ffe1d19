"use strict";
// Tools above each table that has a file name: search, choices, sorting, and the shown rows as a CSV file.
(() => {
  const number = (text) => Number(text.replaceAll(",", "").replace("−", "-"));
  const element = (name, properties, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const isWords = (cell) => cell.classList.contains("words");
  const plain = (cell) => (cell.textContent === "–" && !isWords(cell) ? "" : cell.textContent);
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

  const addTools = (table) => {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const rows = [...body.rows];
    const textOf = (row, column) => row.cells[column].textContent;
    const choices = [];

    const search = element("input", { type: "search", placeholder: "search", ariaLabel: "search the table" });
    const shown = element("output");
    const tools = element("div", { className: "tools" }, search);

    const addChoice = (name, options, accepts) => {
      const select = element("select", { ariaLabel: name }, element("option", { value: "" }, name));
      select.append(...options.map((option) => element("option", {}, option)));
      select.addEventListener("change", update);
      choices.push((row) => !select.value || accepts(row, select.value));
      tools.append(select);
    };

    const update = () => {
      const words = search.value.toLowerCase().split(/\s+/);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !(words.every((word) => text.includes(word)) && choices.every((accepts) => accepts(row)));
      }
      const n = rows.filter((row) => !row.hidden).length;
      shown.textContent = `${n.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
    };

    const sort = (column, descending) => {
      const values = rows.map((row) => textOf(row, column));
      const isNumeric = values.every((text) => text === "–" || !Number.isNaN(number(text)));
      const compare = isNumeric
        ? (a, b) => number(a) - number(b)
        : (a, b) => a.localeCompare(b, "en", { numeric: true });
      const order = rows.map((row, place) => [row, values[place], place]);
      const isMissing = (text) => isNumeric && Number.isNaN(number(text));
      order.sort(
        ([, a, i], [, b, j]) =>
          isMissing(a) - isMissing(b) || (isMissing(a) ? 0 : compare(a, b) * (descending ? -1 : 1)) || i - j,
      );
      body.append(...order.map(([row]) => row));
      heads.forEach((head) => head.removeAttribute("aria-sort"));
      heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
    };

    const download = () => {
      const lines = [heads, ...[...body.rows].filter((row) => !row.hidden).map((row) => [...row.cells])];
      const text = lines.map((cells) => cells.map((cell) => quoted(plain(cell))).join(",")).join("\r\n");
      const address = URL.createObjectURL(new Blob([`\uFEFF${text}\r\n`], { type: "text/csv;charset=utf-8" }));
      element("a", { href: address, download: table.dataset.file }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    };

    heads.forEach((head, column) => {
      const button = element("button", { type: "button" }, ...head.childNodes);
      button.addEventListener("click", () => {
        const direction = head.getAttribute("aria-sort");
        sort(column, direction ? direction === "ascending" : !isWords(head));
      });
      head.append(button);
      const values = [...new Set(rows.map((row) => textOf(row, column)))].sort();
      if (isWords(head) && values.length > 1 && values.length <= 12) {
        addChoice(`any ${head.textContent}`, values, (row, value) => textOf(row, column) === value);
      }
    });
    const change = heads.findIndex((head) => head.textContent.endsWith(" change"));
    if (change >= 0) {
      const signs = { better: 1, worse: -1, equal: 0 };
      const signOf = (row) => Math.sign(number(textOf(row, change)));
      addChoice("any change", Object.keys(signs), (row, value) => signOf(row) === signs[value]);
    }
    search.addEventListener("input", update);
    const button = element("button", { type: "button" }, "download CSV");
    button.addEventListener("click", download);
    tools.append(button, shown);
    table.closest(".wide").before(tools);
    update();
  };

  document.querySelectorAll("table[data-file]").forEach(addTools);
})();
