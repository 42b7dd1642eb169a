import type { SseWords } from "./sse-frames.ts";

/**
 * Whether a frame says the same to clients that cut its lines in ways of their own. What is judged is read by the format;
 * an event that others alone find in it would be judged by nobody.
 *
 * Of a document in one line nothing of the kind can be made: where a string of it were cut, its quotes would change places,
 * and between strings no letters stand.
 *
 * @param kept The name that events had before: some clients go by the last that came before data, in whichever event.
 */
export function hasOneReading(words: SseWords, kept: string | undefined): boolean {
  const { event, named, data, rest } = words;
  if (named === "twice") return false;
  if (named === "behind" && kept !== undefined && kept !== event) return false;
  if (event !== undefined && OTHER_LINE_END.test(event)) return false;
  if (rest !== "" && (OTHER_LINE_END.test(rest) || NEARLY_READ.test(rest))) return false;
  // A line feed is in no document but between its lines.
  return data?.includes("\n") !== true || !data.split("\n").some(isDocument);
}

/**
 * What may end a line beside the ends of the format, as some controls and separators do in Python (`str.splitlines`, by
 * which httpx reads streams).
 */
const OTHER_LINE_END = /[^\P{Cc}\t\n]|[\u2028\u2029]/u;

/** A line that is one of those which are read, but for its case and the spaces about its name, which some take away. */
const NEARLY_READ = /^[^\S\n]*(?:data|event)[^\S\n]*(?::|$)/im;

/** For clients that take each line with data for an event of its own. */
function isDocument(line: string): boolean {
  const text = line.trim();
  const isOne = /^[[{]/.test(text) && /[\]}]$/.test(text);
  // A list of numbers, or an empty one, is no event; members have names.
  return isOne && text.includes('"');
}
