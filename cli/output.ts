/** Where a command writes: lines for people, or one JSON value for programs. */
export type Output = {
  readonly json: boolean;
  readonly terminal: boolean;
  /** One line for people; nothing in JSON mode. */
  line(text: string): void;
  /** The command's whole answer: printed as JSON in JSON mode, else given to `forPeople`. */
  result(value: unknown, forPeople: () => void): void;
  /** A line of progress that the next one replaces on a terminal. */
  progress(text: string): void;
  error(text: string): void;
};

/** The streams of a process, as far as output needs them. */
export type Streams = {
  readonly out: { write(text: string): unknown; readonly isTTY?: boolean };
  readonly err: { write(text: string): unknown };
};

const CLEAR_LINE = "\r\u001b[K";

export function createOutput(streams: Streams, json: boolean): Output {
  const terminal = streams.out.isTTY === true && !json;
  let open = false;
  const endProgress = () => {
    if (open) streams.out.write("\n");
    open = false;
  };
  return {
    json,
    terminal,
    line: (text) => {
      endProgress();
      if (!json) streams.out.write(`${text}\n`);
    },
    result: (value, forPeople) => {
      endProgress();
      if (json) streams.out.write(`${JSON.stringify(value, plain)}\n`);
      else forPeople();
    },
    progress: (text) => {
      if (json) return;
      streams.out.write(terminal ? `${CLEAR_LINE}${text}` : `${text}\n`);
      open = terminal;
    },
    error: (text) => {
      endProgress();
      streams.err.write(`${text}\n`);
    },
  };
}

/** Columns as wide as their widest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Integers of 64 bits as decimal text, bytes as hexadecimal, protobuf's own members left out. */
function plain(key: string, value: unknown): unknown {
  if (key.startsWith("$")) return undefined;
  if (typeof value === "bigint") return String(value);
  return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;
}
