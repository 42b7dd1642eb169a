import { expect, test } from "vitest";
import { connectionWords } from "../../../../../node/dataplane/http1/connection-words.ts";

const NOTHING = { closes: false, expectsContinue: false, asksForSession: false };

test.each<[string, string[], Partial<typeof NOTHING>]>([
  ["nothing", ["Host", "a"], {}],
  ["to be kept", ["Connection", "keep-alive"], {}],
  ["to be closed", ["connection", "close"], { closes: true }],
  ["to be closed, among others", ["CONNECTION", "x,\tClose , y"], { closes: true }],
  [
    "to be closed, in a second header",
    ["Connection", "x", "Connection", "close"],
    { closes: true },
  ],
  ["something like that", ["Connection", "closed, not-close", "x-connection", "close"], {}],
  ["to be told to go on", ["Expect", "100-Continue"], { expectsContinue: true }],
  ["what nobody knows", ["Expect", "wonders"], {}],
  [
    "a session",
    ["Connection", "keep-alive, Upgrade", "Upgrade", "WebSocket"],
    { asksForSession: true },
  ],
  ["a session without saying so of its connection", ["Upgrade", "websocket"], {}],
  ["another protocol", ["Connection", "upgrade", "Upgrade", "h2c"], {}],
  ["two", ["Connection", "upgrade", "Upgrade", "websocket", "Upgrade", "websocket"], {}],
  ["one of two", ["Connection", "upgrade", "Upgrade", "websocket, h2c"], {}],
])("a head asks %s of its connection", (_what, rawHeaders, words) => {
  expect(connectionWords("GET", rawHeaders)).toEqual({ ...NOTHING, ...words });
});

test("a session is asked for with GET alone", () => {
  const asked = ["Connection", "upgrade", "Upgrade", "websocket"];
  expect(connectionWords("POST", asked)).toEqual(NOTHING);
});
