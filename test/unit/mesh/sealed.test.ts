import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { openSealed, SEAL_DOMAINS, SEALED_BYTES_MAX, seal } from "../../../mesh/sealed.ts";
import { encodeSignedRecord } from "../../../mesh/signed-record.ts";
import { SealedSchema } from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { coordinator, keys, kill, sign, stranger } from "./sample-mesh.ts";

const PAYLOAD = Buffer.from("payload");
const lookup = (kid: string): Uint8Array | undefined =>
  kid === coordinator.kid ? coordinator.publicKey : undefined;

describe("a sealed message", () => {
  test.each(SEAL_DOMAINS)("opens for its own purpose alone: %s", (domain) => {
    const bytes = seal(domain, PAYLOAD, coordinator);
    for (const asked of SEAL_DOMAINS) {
      const opened = openSealed(asked, bytes, lookup, keys.verify);
      if (asked !== domain) expect(opened, asked).toBeUndefined();
      else expect(opened).toMatchObject({ kid: coordinator.kid });
    }
    const payload = openSealed(domain, bytes, lookup, keys.verify)?.payload;
    expect(Buffer.from(payload ?? "")).toEqual(PAYLOAD);
  });

  test("is what the general writer of messages makes, and reads", () => {
    for (const payload of [PAYLOAD, Buffer.alloc(300, 7)]) {
      const bytes = seal("reply", payload, coordinator);
      const read = fromBinary(SealedSchema, bytes);
      expect(Buffer.from(read.payload)).toEqual(payload);
      expect(read.signature?.kid).toBe(coordinator.kid);
      expect(Buffer.from(bytes)).toEqual(Buffer.from(toBinary(SealedSchema, read)));
      expect(openSealed("reply", toBinary(SealedSchema, read), lookup, keys.verify)).toBeDefined();
    }
  });

  test("does not open by a key that is not looked up, or by another one", () => {
    const bytes = seal("beat", PAYLOAD, stranger);
    expect(openSealed("beat", bytes, lookup, keys.verify)).toBeUndefined();
    expect(openSealed("beat", bytes, () => coordinator.publicKey, keys.verify)).toBeUndefined();
    expect(openSealed("beat", bytes, () => stranger.publicKey, keys.verify)).toBeDefined();
  });

  test("hands its payload over before the key is known, for messages that bring their own", () => {
    const bytes = seal("request", PAYLOAD, stranger);
    const asked: [string, string][] = [];
    openSealed(
      "request",
      bytes,
      (kid, payload) => {
        asked.push([kid, Buffer.from(payload).toString()]);
        return undefined;
      },
      keys.verify,
    );
    expect(asked).toEqual([[stranger.kid, "payload"]]);
  });

  test("with any bit of it changed does not open, or says the same as before", () => {
    const bytes = seal("ack", PAYLOAD, coordinator);
    let refused = 0;
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const bent = new Uint8Array(bytes);
      bent[bit >> 3] = (bent[bit >> 3] as number) ^ (1 << (bit & 7));
      const opened = openSealed("ack", bent, lookup, keys.verify);
      if (!opened) refused += 1;
      else expect([Buffer.from(opened.payload), opened.kid]).toEqual([PAYLOAD, coordinator.kid]);
    }
    // Payload, kid and signature are under the signature; the few bytes around them are framing.
    expect(refused).toBeGreaterThanOrEqual((PAYLOAD.length + 16 + 64) * 8);
  });

  test("that is no message, is unsigned, too large, or a record, does not open", () => {
    const unsigned = toBinary(SealedSchema, create(SealedSchema, { payload: PAYLOAD }));
    const good = seal("beat", PAYLOAD, coordinator);
    const unknownField = Buffer.concat([good, Buffer.from([0x7a, 0x01, 0x00])]);
    const tooLarge = seal("beat", new Uint8Array(SEALED_BYTES_MAX), coordinator);
    const aRecord = sign("global", kill(), coordinator);
    const { payload, signature } = fromBinary(SealedSchema, good);
    const { kid = "", sig = new Uint8Array() } = signature ?? {};
    const twiceSigned = encodeSignedRecord({
      payload,
      signatures: [
        { kid, sig },
        { kid, sig },
      ],
    });
    const all = [
      Buffer.from("garbage"),
      Buffer.alloc(0),
      unsigned,
      unknownField,
      tooLarge,
      aRecord,
      twiceSigned,
    ];
    for (const [index, bytes] of all.entries()) {
      expect(openSealed("beat", bytes, lookup, keys.verify), `${index}`).toBeUndefined();
    }
  });
});
