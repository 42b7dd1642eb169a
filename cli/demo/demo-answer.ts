import { countTokens } from "./demo-tokens.ts";

/** What the demo provider does with a prompt. Everything follows from the prompt alone. */
export type DemoAnswer = {
  /** The answer in the pieces in which a stream brings it; each has at least one token. */
  readonly pieces: Iterable<string>;
  readonly toolCall: { readonly name: string; readonly json: string } | undefined;
  /** An error instead of an answer. */
  readonly failStatus: number | undefined;
  /** Before the answer begins. */
  readonly waitMs: number;
  /** The connection breaks after this many pieces. */
  readonly breakAfter: number | undefined;
};

const DIRECTIVES = {
  /** `stream for 500 words`: that many words. */
  words: /\bstream for (\d{1,7}) words\b/i,
  /** `say: TEXT`: TEXT, to the end of the prompt. */
  say: /\bsay: ([\s\S]+)$/i,
  /** `call tool NAME with JSON`: a tool call, if the request offers tools. */
  tool: /\bcall tool ([A-Za-z0-9_.:-]{1,64})(?: with (\{[\s\S]*\}))?/i,
  /** `fail with status 503`: an error of that status. */
  fail: /\bfail with status ([45]\d\d)\b/i,
  /** `wait 200 ms`: nothing for that long. */
  wait: /\bwait (\d{1,5}) ms\b/i,
  /** `break off after 3 words`: the connection ends there. */
  break: /\bbreak off after (\d{1,6}) words\b/i,
} as const;

const WORDS = (
  "the demo provider writes these words one after another so that a stream has something to say " +
  "and a budget has something to count"
).split(" ");

const ECHO_WORDS = 24;
const WORD = /\S+\s*/g;

/** Reads the directives of a prompt: the text of its last message. */
export function demoAnswer(prompt: string): DemoAnswer {
  const words = DIRECTIVES.words.exec(prompt);
  const tool = DIRECTIVES.tool.exec(prompt);
  const fail = DIRECTIVES.fail.exec(prompt);
  const broken = DIRECTIVES.break.exec(prompt);
  return {
    pieces: words === null ? spoken(prompt) : repeated(Number(words[1])),
    toolCall: tool === null ? undefined : { name: tool[1] as string, json: tool[2] ?? "{}" },
    failStatus: fail === null ? undefined : Number(fail[1]),
    waitMs: Number(DIRECTIVES.wait.exec(prompt)?.[1] ?? 0),
    breakAfter: broken === null ? undefined : Number(broken[1]),
  };
}

/** Cuts an answer where its output limit is reached. */
export function* limited(
  pieces: Iterable<string>,
  tokensMax: number,
): Generator<string, { readonly tokens: number; readonly cut: boolean }, void> {
  let tokens = 0;
  for (const piece of pieces) {
    const more = countTokens(piece);
    if (tokens + more > tokensMax) return { tokens, cut: true };
    tokens += more;
    yield piece;
  }
  return { tokens, cut: false };
}

function spoken(prompt: string): readonly string[] {
  const said = DIRECTIVES.say.exec(prompt)?.[1];
  if (said !== undefined) return said.match(WORD) ?? [];
  const echoed = (prompt.match(/\S+/g) ?? []).slice(0, ECHO_WORDS).join(" ");
  return `This is the demo provider. You said: ${echoed}`.match(WORD) ?? [];
}

function* repeated(count: number): Generator<string, void, void> {
  for (let index = 0; index < count; index++) yield `${WORDS[index % WORDS.length]} `;
}
