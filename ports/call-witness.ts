/**
 * Asks a witness over HTTP, at the address that is named and nowhere else: an answer that points elsewhere is an answer.
 *
 * @throws When there is no whole answer within `timeoutMs`, or it is longer than `answerBytesMax`.
 */
export type CallWitness = (
  url: string,
  ask: {
    readonly method: "POST" | "GET";
    readonly body?: string;
    readonly answerBytesMax: number;
    readonly timeoutMs: number;
  },
) => Promise<{ readonly status: number; readonly body: Uint8Array }>;
