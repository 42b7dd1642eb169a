import { expect, test } from "vitest";
import { shownSecret, showsSecret } from "../../../../node/dataplane/key-material.ts";
import { requestWorld, SECRET } from "../request-world.ts";

const KEY = "key/of+the/provider==0001";

test.each([
  [KEY, true],
  [`{"authorization":"Bearer ${KEY}"}`, true],
  [JSON.stringify({ text: `x-api-key: ${KEY}` }).replaceAll("/", "\\/"), true],
  [KEY.replace("provider", "\\u0070rovid\\u0065r"), true],
  [KEY.replace("provider", "\\\\u0070rovider"), false],
  [KEY.slice(1), false],
  ["", false],
])("an answer shows a secret that stands in it: %s", (answer, shows) => {
  const bytes = Buffer.from(`..${answer}..`);
  expect(showsSecret(bytes.subarray(2, -2), KEY)).toBe(shows);
  expect(showsSecret(Uint8Array.from(bytes), KEY)).toBe(shows);
});

test("what servers take in place of a key is a word, and may be said", () => {
  expect(shownSecret("not-needed")).toBeUndefined();
  expect(shownSecret(KEY)).toBe(KEY);
});

test("a provider that says what it was sent hands its key to nobody", async () => {
  const { chat, provider } = await requestWorld({
    reply: (response, { headers }) => {
      const message = { role: "assistant", content: `you sent ${headers.authorization}` };
      const usage = { prompt_tokens: 1, completion_tokens: 1 };
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ choices: [{ message }], usage }));
    },
  });
  const body = { model: "gpt-5-mini", max_tokens: 9, messages: [{ role: "user", content: "x" }] };
  const answer = await chat(body);
  expect(provider.received[0]?.headers.authorization).toBe(`Bearer ${SECRET}`);
  expect(answer.status).toBe(502);
  expect(answer.headers.get("x-altrace-reason")).toBe("credential_in_response");
  expect(await answer.text()).not.toContain(SECRET);
});

test("what is taken out is the key that the request went with, also once there is another", async () => {
  const other = "sk-of-the-provider/0002";
  const { chat, loop } = await requestWorld({
    reply: (response, { headers }) => {
      // Turned over while the provider works.
      Object.assign(loop.credentials, { secretOf: () => other });
      const message = { role: "assistant", content: `you sent ${headers.authorization}` };
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ choices: [{ message }], usage: { prompt_tokens: 1 } }));
    },
  });
  const body = { model: "gpt-5-mini", max_tokens: 9, messages: [{ role: "user", content: "x" }] };
  const answer = await chat(body);
  expect(answer.headers.get("x-altrace-reason")).toBe("credential_in_response");
  expect(await answer.text()).not.toContain(SECRET);
});
