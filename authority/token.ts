import { hash } from "node:crypto";
import { canonicalJson } from "../proto/jcs.ts";
import { base64urlOfAlphabet } from "./base64url.ts";
import { TOKEN_CHARS_MAX } from "./contract-limits.ts";
import { RefusedContract } from "./contract-refusal.ts";

// A contract on the wire: a compact JWS of which one spelling exists.
//
// T1. Length and alphabet are looked at first, by one regular expression without alternatives.
// T2. A header is one of two texts. What it could say beside them (`crit`, `b64`, keys, places to
//     fetch keys from, other algorithms) has no meaning here, so none of it is ever interpreted.
// T3. A contract's id is the hash of what was signed. The signature is not part of it: another
//     spelling of a signature must not make another contract.

/** @see https://www.rfc-editor.org/rfc/rfc9864 for the algorithm's name */
const ALGORITHM = "Ed25519";
const TYPE = "altrace-dc+jwt";

const TOKEN = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}$/;
const CHILD_HEADER = canonicalJson({ alg: ALGORITHM, typ: TYPE });
/** Most links begin so: what is spelt like it need not be decoded. */
const CHILD_START = encode(CHILD_HEADER);
const ROOT_HEADER = /^\{"alg":"Ed25519","kid":"([0-9a-f]{16})","typ":"altrace-dc\+jwt"\}$/;

/** A token whose form is right and of which nothing else is known yet. */
export type Envelope = {
  /** Base64url of the SHA-256 of the signing input. */
  readonly id: string;
  /** The operator's key that a root names; undefined in a delegated contract. */
  readonly kid: string | undefined;
  readonly signingInput: Buffer;
  readonly payload: Buffer;
  readonly signature: Buffer;
};

/** @throws RefusedContract T1 or T2 does not hold. */
export function readEnvelope(token: string): Envelope {
  if (token.length > TOKEN_CHARS_MAX) {
    throw new RefusedContract("contract_too_large", `a token of ${token.length} characters`);
  }
  if (!TOKEN.test(token)) throw new RefusedContract("contract_malformed", "not a compact JWS");
  const [first, second] = [token.indexOf("."), token.lastIndexOf(".")];
  const isChild = first === CHILD_START.length && token.startsWith(CHILD_START);
  const header = isChild ? CHILD_HEADER : headerOf(token.slice(0, first));
  const payload = base64urlOfAlphabet(token.slice(first + 1, second));
  const signature = base64urlOfAlphabet(token.slice(second + 1));
  if (!header || !payload || !signature) {
    throw new RefusedContract("contract_malformed", "base64url that is not canonical");
  }
  const signingInput = Buffer.from(token.slice(0, second), "latin1");
  const id = contractIdOf(signingInput);
  return { id, kid: kidOfHeader(header), signingInput, payload, signature };
}

/** What a signature is made over: of a root under the operator's `kid`, else of a delegation. */
export function signingInputOf(kid: string | undefined, payload: string): string {
  const header =
    kid === undefined ? CHILD_HEADER : canonicalJson({ alg: ALGORITHM, kid, typ: TYPE });
  return `${encode(header)}.${encode(payload)}`;
}

/** The token of a signing input and its signature. */
export function tokenOf(signingInput: string, signature: Uint8Array): string {
  return `${signingInput}.${Buffer.from(signature).toString("base64url")}`;
}

/** T3. */
export function contractIdOf(signingInput: string | Uint8Array): string {
  return hash("sha256", signingInput, "base64url");
}

function encode(text: string): string {
  return Buffer.from(text).toString("base64url");
}

function headerOf(encoded: string): string | undefined {
  return base64urlOfAlphabet(encoded)?.toString("latin1");
}

function kidOfHeader(header: string): string | undefined {
  if (header === CHILD_HEADER) return undefined;
  const kid = ROOT_HEADER.exec(header)?.[1];
  if (kid === undefined) throw new RefusedContract(...headerObjection(header));
  return kid;
}

/** Which refusal; the header is only named here, never obeyed. */
function headerObjection(
  header: string,
): [reason: "contract_algorithm" | "contract_type" | "contract_header", detail: string] {
  const alg = /"alg":"([A-Za-z0-9-]{1,16})"/.exec(header)?.[1];
  if (alg !== ALGORITHM) return ["contract_algorithm", alg ?? "none named"];
  const typ = /"typ":"([A-Za-z0-9+.-]{1,32})"/.exec(header)?.[1];
  if (typ !== TYPE) return ["contract_type", typ ?? "none named"];
  return ["contract_header", "members that a contract's header does not have"];
}
