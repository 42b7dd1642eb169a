/**
 * Trust policy files: which logs are known, which witnesses, and how many of them must have seen a
 * checkpoint.
 *
 * @see https://c2sp.org/tlog-policy
 */

import { flawed, type Parsed, parsed } from "./parsed.ts";
import { KEY_TYPES, type KeyType, parseVkey, type VerifierKey } from "./signed-note.ts";
import { strictUtf8 } from "./strict-text.ts";

/** Lines of one kind (log, witness or group), at most. */
export const POLICY_LINES_MAX = 64;
/** Bytes of a policy file, at most. */
export const POLICY_BYTES_MAX = 64 * 1024;

/** Who must have witnessed: a witness, or at least `k` members of a group. */
export type Quorum =
  | { readonly witness: VerifierKey }
  | { readonly k: number; readonly members: readonly Quorum[] };

/** A witness that checkpoints can be brought to. */
export type WitnessPlace = {
  /** What the file calls it: for people. Its key has a name of its own. */
  readonly name: string;
  readonly key: VerifierKey;
  /** As the file has it; by the specification the submission prefix. */
  readonly url: string;
};

export type LogPolicy = {
  readonly logs: readonly VerifierKey[];
  readonly witnesses: readonly VerifierKey[];
  /** Those of the witnesses that have a URL, in the file's order; absent: there is no file. */
  readonly places?: readonly WitnessPlace[];
  /** `undefined` when the file says `quorum none`: no cosignature is asked for. */
  readonly quorum: Quorum | undefined;
};

export type PolicyFlaw =
  | "policy_too_large"
  | "policy_characters"
  | "policy_line"
  | "policy_key"
  | "policy_key_twice"
  | "policy_name"
  | "policy_group"
  | "policy_quorum"
  | "policy_limit";

/** Reads a policy file. One line that is not understood refuses the file. */
export function parseLogPolicy(bytes: Uint8Array): Parsed<LogPolicy, PolicyFlaw> {
  if (bytes.length > POLICY_BYTES_MAX) return flawed("policy_too_large", `${bytes.length} bytes`);
  const text = strictUtf8(bytes);
  if (text === undefined || bytes.some(isForbidden) || !text.endsWith("\n")) {
    return flawed("policy_characters", "is not lines of UTF-8 text");
  }
  const reader = new PolicyReader();
  for (const [i, line] of text.slice(0, -1).split("\n").entries()) {
    // Space and tab alone separate; other white space is part of a name.
    const words = line.split(/[ \t]+/).filter((word) => word !== "");
    if (words[0] === undefined || words[0].startsWith("#")) continue;
    const wrong = reader.take(words);
    if (wrong !== undefined) return flawed(wrong[0], `line ${i + 1}: ${wrong[1]}`);
  }
  return reader.end();
}

/** True iff cosignatures by these witnesses make a quorum. */
export function hasQuorum(policy: LogPolicy, cosigners: readonly VerifierKey[]): boolean {
  const seen = new Set(cosigners.map(keyBytes));
  const witnessed = (quorum: Quorum): boolean =>
    "witness" in quorum
      ? seen.has(keyBytes(quorum.witness))
      : quorum.members.filter(witnessed).length >= quorum.k;
  return policy.quorum === undefined || witnessed(policy.quorum);
}

type Wrong = readonly [PolicyFlaw, string];

class PolicyReader {
  readonly #logs: VerifierKey[] = [];
  readonly #witnesses: VerifierKey[] = [];
  readonly #places: WitnessPlace[] = [];
  readonly #names = new Map<string, Quorum>();
  readonly #members = new Set<string>();
  #quorum: { readonly of: Quorum | undefined } | undefined;

  take(words: readonly string[]): Wrong | undefined {
    switch (words[0]) {
      case "log":
        return this.#takeLog(words.slice(1));
      case "witness":
        return this.#takeWitness(words.slice(1));
      case "group":
        return this.#takeGroup(words.slice(1));
      case "quorum":
        return this.#takeQuorum(words.slice(1));
      default:
        return ["policy_line", `${words[0]} is not known`];
    }
  }

  end(): Parsed<LogPolicy, PolicyFlaw> {
    if (this.#quorum === undefined) return flawed("policy_quorum", "there is no quorum line");
    return parsed({
      logs: this.#logs,
      witnesses: this.#witnesses,
      places: this.#places,
      quorum: this.#quorum.of,
    });
  }

  #takeLog([vkey, _url, ...rest]: readonly string[]): Wrong | undefined {
    if (vkey === undefined || rest.length > 0) return ["policy_line", "log <vkey> [<url>]"];
    return this.#takeKey(vkey, KEY_TYPES.log, this.#logs);
  }

  #takeWitness([name, vkey, url, ...rest]: readonly string[]): Wrong | undefined {
    if (name === undefined || vkey === undefined || rest.length > 0) {
      return ["policy_line", "witness <name> <vkey> [<url>]"];
    }
    const wrong = this.#takeKey(vkey, KEY_TYPES.cosignature, this.#witnesses);
    if (wrong !== undefined) return wrong;
    const key = this.#witnesses.at(-1) as VerifierKey;
    if (url !== undefined) this.#places.push({ name, key, url });
    return this.#define(name, { witness: key });
  }

  #takeKey(vkey: string, type: KeyType, keys: VerifierKey[]): Wrong | undefined {
    if (keys.length === POLICY_LINES_MAX) return ["policy_limit", `over ${POLICY_LINES_MAX} keys`];
    const key = parseVkey(vkey);
    if (!key.ok) return ["policy_key", key.detail];
    if (key.value.type !== type) return ["policy_key", `${key.value.name} is for something else`];
    // One key under two names would count as two witnesses.
    if (keys.some((other) => keyBytes(other) === keyBytes(key.value))) {
      return ["policy_key_twice", key.value.name];
    }
    keys.push(key.value);
    return undefined;
  }

  #takeGroup([name, threshold, ...names]: readonly string[]): Wrong | undefined {
    if (name === undefined || threshold === undefined || names.length === 0) {
      return ["policy_line", "group <name> all|any|<k> <name>..."];
    }
    const words = new Map([
      ["all", names.length],
      ["any", 1],
    ]);
    const k = words.get(threshold) ?? (/^[1-9][0-9]{0,8}$/.test(threshold) ? Number(threshold) : 0);
    if (k < 1 || k > names.length) return ["policy_group", `${threshold} of ${names.length}`];
    const members: Quorum[] = [];
    for (const member of names) {
      const quorum = this.#names.get(member);
      if (quorum === undefined) return ["policy_name", `${member} is not defined above`];
      // A witness that counted on two ways would be half of a quorum by itself.
      if (this.#members.has(member)) return ["policy_group", `${member} is a member already`];
      this.#members.add(member);
      members.push(quorum);
    }
    return this.#define(name, { k, members });
  }

  #takeQuorum([name, ...rest]: readonly string[]): Wrong | undefined {
    if (name === undefined || rest.length > 0) return ["policy_line", "quorum <name>"];
    if (this.#quorum !== undefined) return ["policy_quorum", "there are two quorum lines"];
    const of = this.#names.get(name);
    if (of === undefined && name !== "none") {
      return ["policy_name", `${name} is not defined above`];
    }
    this.#quorum = { of };
    return undefined;
  }

  #define(name: string, quorum: Quorum): Wrong | undefined {
    if (name === "none" || this.#names.has(name)) return ["policy_name", `${name} is taken`];
    if (this.#names.size === 2 * POLICY_LINES_MAX) return ["policy_limit", "too many names"];
    this.#names.set(name, quorum);
    return undefined;
  }
}

/** All but tab, newline, printable ASCII and bytes of characters beyond ASCII. */
function isForbidden(byte: number): boolean {
  return (byte < 0x20 && byte !== 0x09 && byte !== 0x0a) || byte === 0x7f;
}

function keyBytes({ publicKey }: VerifierKey): string {
  return Buffer.from(publicKey).toString("hex");
}
