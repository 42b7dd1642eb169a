/** A table as the formatter wants it: columns as wide as their widest cell. The first row is the head. */
export function markdownTable(rows: readonly (readonly string[])[]): readonly string[] {
  const [head, ...rest] = rows;
  if (head === undefined) throw new RangeError("a table has a head");
  const widths = head.map((_, column) =>
    Math.max(3, ...rows.map((row) => [...(row[column] ?? "")].length)),
  );
  const line = (cells: readonly string[]) =>
    `| ${widths.map((width, i) => pad(cells[i] ?? "", width)).join(" | ")} |`;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rest.map(line)];
}

/** `padEnd` counts UTF-16 units; columns are of characters. */
function pad(text: string, width: number): string {
  return text + " ".repeat(width - [...text].length);
}
