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
  /** Lines that the next block replaces on a terminal, whole; nothing elsewhere. */
  block(lines: readonly string[]): void;
  /** Size of the terminal in cells; what a terminal at least has, where there is none. */
  size(): { readonly columns: number; readonly rows: number };
  /** Colours are wanted: a terminal, and nobody said no. */
  readonly color: boolean;
  error(text: string): void;
};

/** The streams of a process, as far as output needs them. */
export type Streams = {
  readonly out: {
    write(text: string): unknown;
    readonly isTTY?: boolean;
    readonly columns?: number;
    readonly rows?: number;
  };
  readonly err: { write(text: string): unknown };
};

const CLEAR_LINE = "\r\u001b[K";
const SIZE_LEAST = { columns: 80, rows: 24 };

export function createOutput(
  streams: Streams,
  json: boolean,
  env: Readonly<Record<string, string | undefined>> = {},
): Output {
  const terminal = streams.out.isTTY === true && !json;
  let open = false;
  let blockLines = 0;
  const endProgress = () => {
    if (open) streams.out.write("\n");
    open = false;
    blockLines = 0;
  };
  const size = () => {
    const { columns = SIZE_LEAST.columns, rows = SIZE_LEAST.rows } = streams.out;
    return { columns, rows };
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
    block: (lines) => {
      if (!terminal) return;
      const back = blockLines === 0 ? "" : `\u001b[${blockLines}A\r\u001b[J`;
      const { columns } = size();
      streams.out.write(`${back}${lines.map((line) => `${fitted(line, columns)}\n`).join("")}`);
      blockLines = lines.length;
    },
    size,
    color: terminal && (env.NO_COLOR ?? "") === "",
    error: (text) => {
      endProgress();
      streams.err.write(`${text}\n`);
    },
  };
}

/** A line that wrapped would take two, and the next block would replace one of them. */
function fitted(line: string, columns: number): string {
  let width = 0;
  let text = "";
  // Colours take no room, and are kept so that one which began also ends.
  for (const part of line.split(COLOR_PATTERN)) {
    const isColor = part.startsWith("\u001b[");
    text += isColor ? part : part.slice(0, Math.max(0, columns - width));
    if (!isColor) width += part.length;
  }
  return text;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colours begin with the escape character.
const COLOR_PATTERN = /(\u001b\[[0-9;]*m)/;

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
