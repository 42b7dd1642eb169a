import { type LogPolicy, parseLogPolicy, type WitnessPlace } from "../../audit/log-policy.ts";

/**
 * Witnesses at most. A checkpoint has room for sixteen signatures, two of which are the log's and the
 * coordinator's.
 */
export const OUTSIDE_WITNESSES_MAX = 12;
const URL_CHARS_MAX = 2_048;
const NAME = /^[A-Za-z0-9._-]{1,64}$/;

/** The operator's file of witnesses is not there, or not understood. */
export class OutsideFileFault extends Error {
  override readonly name = "OutsideFileFault";
}

/** To whom this mesh's logs are brought, which of them, and how many cosignatures are enough. */
export type OutsidePolicy = {
  readonly policy: LogPolicy;
  readonly places: readonly WitnessPlace[];
  /** The file's lines, for auditors. */
  readonly text: string;
};

/**
 * Reads the operator's file, a policy: `witness <name> <vkey> <url>` lines, groups, and a quorum. With `log <vkey>`
 * lines only those logs are brought to them, otherwise all.
 *
 * @throws OutsideFileFault
 * @see https://c2sp.org/tlog-policy
 */
export function readOutsideFile(bytes: Uint8Array): OutsidePolicy {
  const read = parseLogPolicy(bytes);
  if (!read.ok) throw new OutsideFileFault(`${read.flaw}: ${read.detail}`);
  const policy = read.value;
  const { places = [], witnesses } = policy;
  if (places.length < witnesses.length) {
    throw new OutsideFileFault("expected `witness <name> <vkey> <url>`: one has no URL");
  }
  if (places.length === 0 || places.length > OUTSIDE_WITNESSES_MAX) {
    throw new OutsideFileFault(`expected 1 to ${OUTSIDE_WITNESSES_MAX} witnesses`);
  }
  for (const { name, url } of places) {
    if (!NAME.test(name))
      throw new OutsideFileFault(`${name.slice(0, 80)}: letters, digits, . _ -`);
    const flaw = flawOf(url);
    if (flaw !== undefined) throw new OutsideFileFault(`${name}: ${flaw}`);
  }
  return { policy, places, text: Buffer.from(bytes).toString("utf8") };
}

/** Whether a log is one of those that are to be brought. */
export function isBrought({ logs }: LogPolicy, origin: string): boolean {
  return logs.length === 0 || logs.some(({ name }) => name === origin);
}

/** Where a witness takes checkpoints, and where it shows what it has cosigned. */
export function witnessUrls(url: string, originHash: string) {
  const prefix = url.replace(/\/+$/, "");
  return { add: `${prefix}/add-checkpoint`, latest: `${prefix}/${originHash}/checkpoint` };
}

function flawOf(text: string): string | undefined {
  const url = text.length <= URL_CHARS_MAX ? URL.parse(text) : null;
  if (url === null) return "expected https://host/prefix";
  // A name may lead anywhere by tomorrow, and whoever answers over HTTP need not be who is meant.
  const isFixed = /^(localhost|\[[0-9a-f:.]+\]|[0-9]+(\.[0-9]+){3})$/.test(url.hostname);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && isFixed)) {
    return "expected https, or http to an address";
  }
  if (url.username !== "" || url.password !== "") return "a user or password would be in logs";
  if (url.search !== "" || url.hash !== "") return "expected a prefix, without ? and #";
  return undefined;
}
