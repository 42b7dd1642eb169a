import { type RecordWithTtl, Resolver } from "node:dns";
import { readFileSync, statSync } from "node:fs";
import { isIP, type LookupFunction } from "node:net";
import type { Clock } from "../ports/clock.ts";
import { type Address, type NameResolver, ResolutionFault } from "../ports/names.ts";

export type NameResolverOptions = {
  readonly clock: Clock;
  /** `address` or `address:port`; without them the machine's. */
  readonly servers?: readonly string[];
  readonly hostsFile?: string;
  /** One query to one server. */
  readonly timeoutMs?: number;
};

const HOSTS_FILE = "/etc/hosts";
const HOSTS_CHECK_NS = 1_000_000_000n;
const QUERY_TIMEOUT_MS = 2_000;
const QUERY_TRIES = 3;
const CACHE_MS_MIN = 1_000;
const CACHE_MS_MAX = 30_000;
const CACHE_NAMES_MAX = 1_024;
const LOOPBACK: readonly Address[] = [
  { address: "127.0.0.1", family: 4 },
  { address: "::1", family: 6 },
];

/**
 * Names to addresses without the thread pool of the process.
 *
 * `dns.lookup` runs in libuv's pool, which log syncs share: a few names that resolve slowly would
 * hold up the log. This asks name servers through c-ares and reads the hosts file itself. Names are
 * taken as they are, without search domains. Answers are kept for their TTL, 1 to 30 seconds.
 */
export function createNameResolver(options: NameResolverOptions): NameResolver {
  const { clock, servers, hostsFile = HOSTS_FILE, timeoutMs = QUERY_TIMEOUT_MS } = options;
  const hosts = new HostsFile(hostsFile, clock);
  const cache = new AnswerCache(clock, (name) => query(name, { servers, timeoutMs }));
  const resolve = async (name: string): Promise<readonly Address[]> => {
    const family = isIP(name);
    if (family !== 0) return [{ address: name, family: family as 4 | 6 }];
    const plain = name.toLowerCase().replace(/\.$/, "");
    const local = hosts.addressesOf(plain);
    if (local !== undefined) return local;
    // The name is the machine's own by definition: https://www.rfc-editor.org/rfc/rfc6761#section-6.3
    if (plain === "localhost" || plain.endsWith(".localhost")) return LOOPBACK;
    return cache.addressesOf(plain);
  };
  return { resolve, lookup: lookupWith(resolve) };
}

function lookupWith(resolve: NameResolver["resolve"]): LookupFunction {
  return (name, { all, family }, callback) => {
    resolve(name).then(
      (addresses) => {
        const wanted = addresses.filter((one) => fits(one, family));
        const [first] = wanted;
        if (first === undefined) callback(new ResolutionFault("ENOTFOUND", name), "");
        else if (all === true) callback(null, [...wanted]);
        else callback(null, first.address, first.family);
      },
      (fault: NodeJS.ErrnoException) => callback(fault, ""),
    );
  };
}

function fits(one: Address, family: number | "IPv4" | "IPv6" | undefined): boolean {
  if (family === 4 || family === "IPv4") return one.family === 4;
  if (family === 6 || family === "IPv6") return one.family === 6;
  return true;
}

type Answer = { readonly addresses: readonly Address[]; readonly ttlMs: number };

/** Both families at once; one of them may have none. */
async function query(
  name: string,
  asked: { readonly servers: readonly string[] | undefined; readonly timeoutMs: number },
): Promise<Answer> {
  const resolver = new Resolver({ timeout: asked.timeoutMs, tries: QUERY_TRIES });
  if (asked.servers !== undefined) resolver.setServers([...asked.servers]);
  const answers = await Promise.all([
    queryFamily(resolver, name, 4),
    queryFamily(resolver, name, 6),
  ]);
  const found = answers.flatMap(({ records }) => records);
  if (found.length === 0) {
    // A server that did not answer says more than one that knows of no such record.
    const codes = answers.map(({ code }) => code);
    const worst = codes.find((code) => code !== "ENODATA" && code !== "ENOTFOUND");
    throw new ResolutionFault(worst ?? "ENOTFOUND", name);
  }
  const ttlMs = 1_000 * Math.min(...found.map(({ ttl }) => ttl));
  return { addresses: found.map(({ address, family }) => ({ address, family })), ttlMs };
}

type FamilyAnswer = {
  readonly records: readonly (Address & { readonly ttl: number })[];
  readonly code: string;
};

function queryFamily(resolver: Resolver, name: string, family: 4 | 6): Promise<FamilyAnswer> {
  return new Promise((settle) => {
    const done = (error: NodeJS.ErrnoException | null, found: RecordWithTtl[]): void => {
      if (error !== null) settle({ records: [], code: error.code ?? "EUNKNOWN" });
      else settle({ records: found.map((one) => ({ ...one, family })), code: "" });
    };
    if (family === 4) resolver.resolve4(name, { ttl: true }, done);
    else resolver.resolve6(name, { ttl: true }, done);
  });
}

/** Answers for a short time, and one question for all who ask the same meanwhile. */
class AnswerCache {
  readonly #clock: Clock;
  readonly #ask: (name: string) => Promise<Answer>;
  readonly #asked = new Map<string, Promise<readonly Address[]>>();
  readonly #known = new Map<string, { addresses: readonly Address[]; untilNs: bigint }>();

  constructor(clock: Clock, ask: (name: string) => Promise<Answer>) {
    this.#clock = clock;
    this.#ask = ask;
  }

  addressesOf(name: string): Promise<readonly Address[]> {
    const known = this.#known.get(name);
    if (known !== undefined && this.#clock.monoNs() < known.untilNs) {
      return Promise.resolve(known.addresses);
    }
    const running = this.#asked.get(name);
    if (running !== undefined) return running;
    const asked = this.#ask(name)
      .then((answer) => this.#keep(name, answer))
      .finally(() => this.#asked.delete(name));
    this.#asked.set(name, asked);
    return asked;
  }

  #keep(name: string, { addresses, ttlMs }: Answer): readonly Address[] {
    const keptMs = Math.min(CACHE_MS_MAX, Math.max(CACHE_MS_MIN, ttlMs));
    if (this.#known.size >= CACHE_NAMES_MAX) this.#known.clear();
    const untilNs = this.#clock.monoNs() + BigInt(keptMs) * 1_000_000n;
    this.#known.set(name, { addresses, untilNs });
    return addresses;
  }
}

/** The machine's own list of names, read again when the file has changed. */
class HostsFile {
  readonly #path: string;
  readonly #clock: Clock;
  #names: ReadonlyMap<string, readonly Address[]> = new Map();
  #stamp = "";
  #checkAtNs: bigint | undefined;

  constructor(path: string, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
  }

  addressesOf(name: string): readonly Address[] | undefined {
    const nowNs = this.#clock.monoNs();
    if (this.#checkAtNs === undefined || nowNs >= this.#checkAtNs) {
      this.#checkAtNs = nowNs + HOSTS_CHECK_NS;
      this.#readIfChanged();
    }
    return this.#names.get(name);
  }

  #readIfChanged(): void {
    try {
      const { mtimeMs, size, ino } = statSync(this.#path);
      const stamp = `${mtimeMs}:${size}:${ino}`;
      if (stamp === this.#stamp) return;
      this.#names = parseHosts(readFileSync(this.#path, "utf8"));
      this.#stamp = stamp;
    } catch {
      // A machine without the file has no names of its own.
      this.#names = new Map();
      this.#stamp = "";
    }
  }
}

/** @see https://man7.org/linux/man-pages/man5/hosts.5.html */
export function parseHosts(text: string): ReadonlyMap<string, readonly Address[]> {
  const names = new Map<string, Address[]>();
  for (const line of text.split("\n")) {
    const [address = "", ...aliases] = line.replace(/#.*/, "").trim().split(/\s+/);
    const family = isIP(address);
    if (family === 0) continue;
    for (const alias of aliases) {
      const name = alias.toLowerCase();
      const known = names.get(name) ?? [];
      if (!known.some((one) => one.address === address)) {
        names.set(name, [...known, { address, family: family as 4 | 6 }]);
      }
    }
  }
  return names;
}
