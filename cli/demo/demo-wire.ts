import type { DemoRequest } from "./demo-request.ts";

/** What an answer has come to. */
export type DemoEnd = {
  /** All that was said. */
  readonly text: string;
  readonly outputTokens: number;
  readonly cut: boolean;
};

export type DemoToolCall = { readonly name: string; readonly json: string };

/** How one dialect puts answers on the wire. Everything is text; nothing is sent here. */
export type DemoWire = {
  /** The whole answer of one request, `text` for each choice. */
  whole(request: DemoRequest, text: string, tool: DemoToolCall | undefined, end: DemoEnd): object;
  /** Frames before the first word. */
  open(request: DemoRequest, tool: DemoToolCall | undefined): string;
  /** Frames of one piece of text, or of a tool's arguments. */
  piece(request: DemoRequest, text: string, tool: DemoToolCall | undefined): string;
  /** Frames after the last word. */
  close(request: DemoRequest, tool: DemoToolCall | undefined, end: DemoEnd): string;
  error(status: number, message: string): object;
  models(names: readonly string[]): object;
};

/** Always the same, so that the same prompt always has the same answer. */
export const CREATED = 1_700_000_000;

/** A frame of a stream, without a name and with one. */
export const data = (value: object): string => `data: ${JSON.stringify(value)}\n\n`;
export const event = (value: {
  readonly type: string;
  readonly [member: string]: unknown;
}): string => `event: ${value.type}\n${data(value)}`;

/** A tool's arguments as an object; those of a prompt that is not JSON are its text. */
export function inputOf({ json }: DemoToolCall): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return { text: json };
  }
}
