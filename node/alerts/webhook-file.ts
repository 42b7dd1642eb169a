import { REASONS } from "../../proto/reasons.ts";
import { parseRange } from "../dataplane/tunnel/address-rules.ts";

/** Bytes of the file, at most. */
export const WEBHOOK_FILE_BYTES_MAX = 16 * 1024;
const URL_CHARS_MAX = 2_048;
const RANGES_MAX = 64;
/** Bytes of a secret. @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md */
const SECRET_BYTES = { min: 24, max: 64 };
const SECRET_PREFIX = "whsec_";

/** Where alerts go. */
export type WebhookTarget = {
  readonly url: URL;
  /** Key of the signatures, which the receiver has too. */
  readonly secret: Uint8Array;
  /** Addresses beside public ones that the host may have. */
  readonly ranges: readonly (readonly [net: string, bits: number])[];
  /** Reasons that are told; empty: all. */
  readonly reasons: ReadonlySet<string>;
};

/** The file does not say where alerts go. */
export class WebhookFileFault extends Error {
  override readonly name = "WebhookFileFault";
}

/**
 * Reads the operator's file: `{"url": "https://…", "secret": "whsec_…", "ranges": ["10.1.0.0/16"],
 * "reasons": ["killed_agent"]}`, of which the last two may be absent.
 *
 * @throws WebhookFileFault One thing in it is not understood; the message never holds the secret.
 */
export function readWebhookFile(bytes: Uint8Array): WebhookTarget {
  if (bytes.length > WEBHOOK_FILE_BYTES_MAX) throw new WebhookFileFault(`${bytes.length} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    // Not what the parser says: it quotes what it read.
    throw new WebhookFileFault("is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new WebhookFileFault("is not an object");
  }
  const { url, secret, ranges = [], reasons = [], ...others } = value as Record<string, unknown>;
  const [other] = Object.keys(others);
  if (other !== undefined) throw new WebhookFileFault(`${other.slice(0, 64)} is not known`);
  return {
    url: urlOf(url),
    secret: secretOf(secret),
    ranges: textsOf("ranges", ranges, RANGES_MAX).map((text) => {
      const range = parseRange(text);
      if (range === undefined) throw new WebhookFileFault(`ranges: ${text.slice(0, 64)}`);
      return range;
    }),
    reasons: new Set(
      textsOf("reasons", reasons, Object.keys(REASONS).length).map((reason) => {
        if (Object.hasOwn(REASONS, reason)) return reason;
        throw new WebhookFileFault(`reasons: ${reason.slice(0, 64)} is not in the registry`);
      }),
    ),
  };
}

function urlOf(value: unknown): URL {
  const url = typeof value === "string" && value.length <= URL_CHARS_MAX ? URL.parse(value) : null;
  if (url === null) throw new WebhookFileFault("url: expected https://host/path");
  const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && isLocal)) {
    throw new WebhookFileFault("url: expected https, or http to this machine itself");
  }
  if (url.username !== "" || url.password !== "") {
    throw new WebhookFileFault("url: a user or password in it would be in logs; use the signature");
  }
  return url;
}

function secretOf(value: unknown): Buffer {
  const text = typeof value === "string" && value.startsWith(SECRET_PREFIX) ? value : "";
  const encoded = text.slice(SECRET_PREFIX.length);
  const bytes = Buffer.from(encoded, "base64");
  const isWhole = bytes.toString("base64") === encoded;
  if (!isWhole || bytes.length < SECRET_BYTES.min || bytes.length > SECRET_BYTES.max) {
    const { min, max } = SECRET_BYTES;
    throw new WebhookFileFault(
      `secret: expected ${SECRET_PREFIX} and base64 of ${min} to ${max} bytes`,
    );
  }
  return bytes;
}

function textsOf(name: string, value: unknown, countMax: number): readonly string[] {
  const isList = Array.isArray(value) && value.length <= countMax;
  if (isList && value.every((one) => typeof one === "string")) return value;
  throw new WebhookFileFault(`${name}: expected a list of at most ${countMax} texts`);
}
