/** Up to six letters or digits, or one other visible character; white space counts for nothing. */
const TOKEN = /[\p{L}\p{N}]{1,6}|[^\s\p{L}\p{N}]/gu;

/** What the demo provider adds to a prompt for each message, as real ones do. */
const TOKENS_PER_MESSAGE = 4;

/** Tokens of a text. Never more than its UTF-8 bytes, which is what a hold is computed from. */
export function countTokens(text: string): number {
  let tokens = 0;
  for (const _ of text.matchAll(TOKEN)) tokens += 1;
  return tokens;
}

/** Tokens of a prompt: its texts, and a constant for each message. */
export function countPromptTokens(texts: readonly string[], messages: number): number {
  return texts.reduce((sum, text) => sum + countTokens(text), messages * TOKENS_PER_MESSAGE);
}
