import assert from "node:assert/strict";
import { dnsAnswer } from "../../node/dataplane/names/dns-door.ts";
import { readDnsQuestion } from "../../node/dataplane/names/dns-question.ts";
import type { Target } from "./target.ts";

const HEADER_BYTES = 12;
/** An address, and the record that it stands in. */
const ANSWER_BYTES_MAX = 28;

const HEAD = "\xbe\xef\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00";
const NAME = "\x03api\x06openai\x03com\x00";
const OPT = "\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00";

/** A datagram that comes to the resolver of captured agents. */
export const DNS: Target = {
  name: "dns",
  seeds: [
    `${HEAD}${NAME}\x00\x01\x00\x01`,
    `${HEAD}${NAME}\x00\x1c\x00\x01`,
    `${HEAD.slice(0, -1)}\x01${NAME}\x00\x0f\x00\x01${OPT}`,
  ].map((text) => new Uint8Array(Buffer.from(text, "latin1"))),
  words: [
    "\x03api",
    "\x06openai",
    "\x01.",
    "\x3f",
    "\xc0\x0c",
    "\x00",
    "\x00\x01",
    "\x00\x1c",
    OPT,
  ],
  run: (bytes) => {
    const asked: string[] = [];
    const answer = dnsAnswer(bytes, "10.0.0.1", (_, name) => {
      asked.push(name);
      return "granted";
    });
    const read = readDnsQuestion(bytes);
    if (answer === undefined) {
      assert.equal(read, undefined, "whoever can be told something is told");
      return;
    }
    const said = Buffer.from(answer);
    assert.ok(said.length <= bytes.length + ANSWER_BYTES_MAX, "nothing is amplified");
    assert.ok((said[2] as number) >= 0x80, "what is said is an answer, which nobody answers");
    assert.deepEqual([...said.subarray(0, 2)], [...bytes.subarray(0, 2)], "it is the asker's");
    if (read === undefined || "flaw" in read) {
      assert.deepEqual(asked, [], "what cannot be read is nobody's name");
      assert.equal(said.length, HEADER_BYTES, "nothing of it is said again");
      return;
    }
    const { name, bytes: question } = read.question;
    assert.deepEqual(asked, [name]);
    assert.match(
      name,
      /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/,
      "it is a name that grants can be matched with",
    );
    assert.ok(Buffer.from(bytes).includes(question), "a question is repeated as it came");
    assert.deepEqual(
      said.subarray(HEADER_BYTES, HEADER_BYTES + question.length),
      Buffer.from(question),
    );
    const labels = name.split(".").map((one) => String.fromCharCode(one.length) + one);
    const spelt = Buffer.from(question.subarray(0, -4)).toString("latin1").toLowerCase();
    assert.equal(spelt, `${labels.join("")}\0`, "another reader reads the same name");
  },
};
