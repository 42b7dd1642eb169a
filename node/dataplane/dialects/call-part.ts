import type { JsonValue } from "./dialect.ts";

/** What is known of a call's arguments. */
export type CallGiven =
  /** JSON text, as a client parses it. */
  | { readonly text: string }
  | { readonly value: JsonValue }
  /** Not JSON, so no rule can speak of it. */
  | { readonly isRaw: true };

/**
 * What a frame says of a call that the client is asked to make: its arguments come whole, or piece by
 * piece until their end.
 */
export type CallPart = {
  /** Every name that a client could read for the tool; none where nobody has said one. */
  readonly names: readonly string[];
} & (
  | { readonly kind: "whole"; readonly given: CallGiven }
  /** `call` tells the calls of an answer apart. */
  | { readonly kind: "piece"; readonly call: string; readonly given: CallGiven }
  | { readonly kind: "end"; readonly call: string }
);
