import { request } from "node:http";
import { wishBody } from "../fixtures/upstream.ts";

const FRAME = /^data: (\{.*\})$/gm;

/**
 * Reads one paced stream, and returns when each of its words was there whole, monotonic nanoseconds: also
 * where words come in other pieces than they were sent in.
 *
 * @param words Those that were sent, in their order.
 * @throws Error Something else than these words came.
 */
export async function readWordTimes(of: {
  readonly origin: string;
  readonly key: string;
  readonly name: string;
  readonly words: readonly string[];
}): Promise<readonly bigint[]> {
  const ends: number[] = [];
  for (const word of of.words) ends.push((ends.at(-1) ?? 0) + word.length);
  const times: bigint[] = [];
  let text = "";
  let unread = "";
  await readStream(of, (part) => {
    const atNs = process.hrtime.bigint();
    unread += part;
    const wholeTo = unread.lastIndexOf("\n\n");
    if (wholeTo < 0) return;
    for (const [, json] of unread.slice(0, wholeTo).matchAll(FRAME)) {
      text += contentOf(json as string);
    }
    unread = unread.slice(wholeTo);
    while (text.length >= (ends[times.length] ?? Number.POSITIVE_INFINITY)) times.push(atNs);
  });
  if (text !== of.words.join("")) throw new Error(`not the words that were sent: ${text}`);
  return times;
}

function contentOf(json: string): string {
  const { choices } = JSON.parse(json) as { choices: { delta: { content?: string } }[] };
  return choices[0]?.delta.content ?? "";
}

function readStream(
  { origin, key, name }: { readonly origin: string; readonly key: string; readonly name: string },
  onPart: (part: string) => void,
): Promise<void> {
  const url = `${origin}/v1/chat/completions`;
  const headers = { "content-type": "application/json", authorization: `Bearer ${key}` };
  return new Promise((resolve, reject) => {
    const asked = request(url, { method: "POST", headers, agent: false }, (response) => {
      response.setEncoding("latin1").on("data", onPart);
      response.on("end", () => {
        if (response.statusCode === 200) resolve();
        else reject(new Error(`expected a stream, not ${response.statusCode}`));
      });
      response.on("error", reject);
    });
    asked.on("error", reject);
    asked.end(wishBody("paced", name));
  });
}
