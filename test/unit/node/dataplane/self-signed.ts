import { generateKeyPairSync, sign } from "node:crypto";

/**
 * A certificate for one DNS name, signed by itself, valid from 2020 to 2050.
 *
 * Just enough DER for a test of TLS, so that no private key has to be kept in the repository.
 *
 * @see https://www.rfc-editor.org/rfc/rfc5280#section-4.1
 */
export function selfSigned(name: string): { readonly key: string; readonly cert: string } {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = sequence(oid("2a8648ce3d040302"));
  const subject = sequence(set(sequence(oid("550403"), der(0x0c, Buffer.from(name)))));
  const validity = sequence(time("20200101000000Z"), time("20500101000000Z"));
  const names = sequence(der(0x82, Buffer.from(name)));
  const extensions = sequence(
    sequence(oid("551d11"), der(0x04, names)),
    // It is its own authority.
    sequence(oid("551d13"), der(0x04, sequence(der(0x01, Buffer.of(0xff))))),
  );
  const certificate = sequence(
    der(0xa0, integer(2)),
    integer(1),
    algorithm,
    subject,
    validity,
    subject,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, extensions),
  );
  const signature = sign("sha256", certificate, privateKey);
  const whole = sequence(certificate, algorithm, der(0x03, Buffer.of(0), signature));
  const lines = whole.toString("base64").match(/.{1,64}/g) as string[];
  return {
    key: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`,
  };
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size =
    length < 0x80
      ? Buffer.of(length)
      : length < 0x100
        ? Buffer.of(0x81, length)
        : Buffer.of(0x82, length >> 8, length & 0xff);
  return Buffer.concat([Buffer.of(tag), size, content]);
}

const sequence = (...parts: readonly Uint8Array[]) => der(0x30, ...parts);
const set = (...parts: readonly Uint8Array[]) => der(0x31, ...parts);
const oid = (hex: string) => der(0x06, Buffer.from(hex, "hex"));
const integer = (value: number) => der(0x02, Buffer.of(value));
const time = (text: string) => der(0x18, Buffer.from(text));
