import { request } from "undici";
import { type Wish, wishBody } from "../fixtures/upstream.ts";

/** Something that takes chat completions and is measured: the provider itself, a peer, Altrace. */
export type Target = {
  readonly name: string;
  readonly origin: string;
  readonly key: string;
  /** First process of its tree; absent: its processor time is not looked at. */
  readonly pid?: number | undefined;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
};

/** One answer, and whether it is the whole of what the provider says. */
export async function answerOf(
  { origin, key, path = "/v1/chat/completions", headers }: Target,
  wish: Wish,
): Promise<{ readonly isWhole: boolean; readonly text: string }> {
  const { statusCode, body } = await request(`${origin}${path}`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${key}`,
      ...headers,
    },
    body: wishBody(wish, "first"),
  });
  const text = await body.text();
  // Peers may write JSON anew, but what a reader of the answer sees has to be there to its end.
  const isWhole =
    wish === "answer"
      ? text.includes("There is nothing to be said of it.")
      : text.includes("word0 ") && text.includes("word99 ") && text.includes("[DONE]");
  return { isWhole: statusCode === 200 && isWhole, text: `${statusCode} ${text.slice(-500)}` };
}
