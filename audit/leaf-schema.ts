// The closed schema of the log's records: what each kind of them may say, and how it is written.

import { CALL_WAYS } from "./call-fields.ts";
import { COMMAND_OPS } from "./command-op.ts";
import {
  boolean,
  integer,
  list,
  longText,
  type Mark,
  MemberError,
  type Members,
  may,
  must,
  object,
  oneOf,
  plainText,
  type Writer,
} from "./member-codec.ts";
import {
  type Act,
  type Amounts,
  type AuditRecord,
  type BootRecord,
  type CallRecord,
  CLIENT_ID_CHARS_MAX,
  type ClockRecord,
  type CloseRecord,
  type CommandRecord,
  type ContractRef,
  type DecisionRecord,
  type DistrustRecord,
  DOORS,
  type FloodRecord,
  type GapRecord,
  type GenesisRecord,
  type Hold,
  type Inspection,
  KERNEL_FAULTS_MAX,
  KERNEL_WORDS_CHARS_MAX,
  type KernelRecord,
  type KeyRecord,
  type KillRecord,
  type LogRecord,
  type PassedBytes,
  type Place,
  type PolicyRecord,
  QUOTED_CHECKPOINT_CHARS_MAX,
  RECORD_NAME_CHARS_MAX,
  RECORD_TOOLS_MAX,
  type RedactRecord,
  type SettleRecord,
  STAGES,
  STANDINGS,
  type StandingRecord,
} from "./record.ts";
import { REASON_CHARS_MAX } from "./recordable-words.ts";

// No quote, no backslash, no space and no control: see `plainText`.
const VISIBLE = /^[\x21\x23-\x5b\x5d-\x7e]+$/;
const token = plainText(VISIBLE, 128);
const shortName = plainText(VISIBLE, RECORD_NAME_CHARS_MAX);
const label = plainText(/^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/, 63);
const reason = plainText(/^[a-z][a-z0-9_]*$/, 64);
const requestId = plainText(
  /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  36,
);
const agent = plainText(
  /^spiffe:\/\/[a-z0-9][a-z0-9._-]*\/agent\/[a-z0-9][a-z0-9-]*\/[a-z0-9][a-z0-9-]*$/,
  256,
);
const host = plainText(/^[a-z0-9_.:[\]-]+$/, 261);
const sha256Hex = plainText(/^[0-9a-f]{64}$/, 64);
const stageLetters = plainText(/^[PDS-]{14}$/, STAGES);
// A plus sign would break the origin's use as the name of a key.
const origin = plainText(/^[\x21\x23-\x2a\x2c-\x5b\x5d-\x7e]+$/, 255);
/** An origin, eight digits and the key in base64. */
const vkey = plainText(VISIBLE, 320);
const printableText = longText(CLIENT_ID_CHARS_MAX);
const clientId: Writer = (value) => {
  if (typeof value === "string" && !/^[\x20-\x7e]*$/.test(value)) {
    throw new MemberError("", "is not printable ASCII");
  }
  return printableText(value);
};
const count = integer(0);
const stage = integer(1, STAGES);

/** Where these stand in the record that was written last, whatever its kind. */
export const LEAF_MARKS = { ep: mark(), seq: mark(), k: mark(), rid: mark() };

function mark(): Mark {
  return { at: -1, isThere: false };
}

/** What every record starts from; the place is optional here and checked to be whole or absent. */
const common = {
  v: must(integer(1, 1)),
  t: must(count),
  node: must(label),
  ep: may(integer(1)),
  seq: may(count),
};

type Placed<T> = T & Partial<Place>;

function kind<T extends AuditRecord>(
  members: Omit<Members<Placed<T>>, keyof typeof common | "k">,
  check?: (record: T) => string | undefined,
): (k: T["k"]) => Writer {
  return (k) =>
    object<Placed<T>>(
      { ...members, ...common, k: must(oneOf([k])) } as unknown as Members<Placed<T>>,
      (record) => {
        if ((record.ep === undefined) !== (record.seq === undefined)) {
          return "has ep or seq without the other";
        }
        return check?.(record);
      },
      LEAF_MARKS,
    );
}

const contract = object<ContractRef>({ id: must(token), root: must(token), d: must(count) });

const amounts = { usd_u: must(count), tok: must(count), calls: must(count), over_u: must(count) };
const settled = object<Amounts>(amounts);
const hold = object<Hold>({ ...amounts, acct: must(token), lease: must(token) });

const act = object<Act>({
  door: must(oneOf(DOORS)),
  host: may(host),
  route: may(shortName),
  model: may(shortName),
  tools: may(list(shortName, RECORD_TOOLS_MAX)),
  out: may(list(shortName, RECORD_TOOLS_MAX)),
  stream: may(boolean),
  orig: may(host),
});

const passed = object<PassedBytes>({ up: must(count), down: must(count) });

const inspection = object<Inspection>(
  { n: must(count), scanned: must(count), rules: must(count), skipped: may(reason) },
  ({ n, scanned, skipped }) => {
    if (scanned > n) return "claims more scanned than there was";
    return scanned < n && skipped === undefined ? "does not say why it was not scanned" : undefined;
  },
);

const ofRequest = {
  rid: must(requestId),
  ag: may(agent),
  kid: may(token),
  sp: may(token),
  c: may(contract),
  rc: must(reason),
  in: may(inspection),
  lat_us: may(count),
};

/** What stage, letters, decision and reason must say of one another. */
function checkDecision(record: DecisionRecord): string | undefined {
  const { dec, st, sv, rc } = record;
  if (dec !== "deny" && record.ph === "request" && record.in === undefined) {
    return "goes ahead without saying what was scanned";
  }
  if (dec === "allow") {
    if (st !== 0 || rc !== "ok") return "is an allow that names a stage or a reason";
    return /^[PS]*$/.test(sv) ? undefined : "is an allow that not every stage agreed to";
  }
  if (st === 0 || rc === "ok") return "is a refusal without stage or reason";
  return sv[st - 1] === "D" ? undefined : "names a stage that did not object";
}

const seenText = plainText(/^[\x21\x23-\x5b\x5d-\x7e]+$/, KERNEL_WORDS_CHARS_MAX);

/** A list without items says nothing: it is left out. */
function some(write: Writer): Writer {
  return (value) => {
    if (Array.isArray(value) && value.length === 0) throw new MemberError("", "is empty");
    return write(value);
  };
}

/** Signatures that one record of the mesh may carry. */
const COMMAND_KEYS_MAX = 4;
/** Of `budget/agent/<team>/<agent>`, the longest there is. */
const scopeName = plainText(VISIBLE, 160);
const words = plainText(/^[\x20\x21\x23-\x5b\x5d-\x7e]+$/, REASON_CHARS_MAX);

const KINDS: { readonly [K in AuditRecord["k"]]: (k: K) => Writer } = {
  decision: kind<DecisionRecord>(
    {
      ...ofRequest,
      ph: must(oneOf(["request", "response"])),
      dec: must(oneOf(["allow", "deny", "would_refuse"])),
      st: must(integer(0, STAGES)),
      sv: must(stageLetters),
      act: must(act),
      rule: may(token),
      pol: must(token),
      tb: must(count),
      hold: may(hold),
      clamped: may(count),
      cid: may(clientId),
      n: may(integer(1)),
    },
    checkDecision,
  ),
  settle: kind<SettleRecord>({
    ...ofRequest,
    ph: must(oneOf(["response"])),
    settled: must(settled),
    bytes: may(passed),
    hold: may(hold),
  }),
  flood: kind<FloodRecord>({
    n: must(integer(1)),
    t0: must(count),
    first: must(requestId),
    last: must(requestId),
    st: must(stage),
    rc: must(reason),
    ag: may(agent),
    pol: must(token),
    tb: must(count),
  }),
  boot: kind<BootRecord>({
    run: must(token),
    boot: must(token),
    clean: must(boolean),
    torn: must(count),
    sw: must(token),
  }),
  gap: kind<GapRecord>({
    n: must(count),
    exact: must(boolean),
    rc: must(reason),
    t0: must(count),
    t1: must(count),
  }),
  clock: kind<ClockRecord>({ step_ms: must(integer(Number.MIN_SAFE_INTEGER)) }),
  policy: kind<PolicyRecord>({ pol: must(token), prev: may(token), rec: may(sha256Hex) }),
  key: kind<KeyRecord>({
    op: must(oneOf(["add", "remove", "rotate"])),
    use: must(oneOf(["agent", "log", "node", "trust"])),
    kid: must(token),
    ag: may(agent),
    tb: may(count),
    rec: may(sha256Hex),
  }),
  kill: kind<KillRecord>({
    op: must(oneOf(["kill", "revive"])),
    scope: must(token),
    ver: may(count),
    rec: may(sha256Hex),
    enf_us: may(count),
    cut: may(count),
  }),
  command: kind<CommandRecord>({
    op: must(oneOf(COMMAND_OPS)),
    scope: must(scopeName),
    ver: must(count),
    rec: must(sha256Hex),
    cmd: must(token),
    at: must(count),
    by: must(some(list(token, COMMAND_KEYS_MAX))),
    who: may(token),
    why: may(words),
    cause: may(reason),
  }),
  call: kind<CallRecord>({
    op: must(reason),
    rc: must(reason),
    via: must(oneOf(CALL_WAYS)),
    who: may(token),
    role: may(label),
    crt: may(sha256Hex),
    scope: may(scopeName),
    cmd: may(token),
    why: may(words),
    n: may(integer(1)),
  }),
  standing: kind<StandingRecord>({
    ag: must(agent),
    from: must(oneOf(STANDINGS)),
    to: must(oneOf(STANDINGS)),
    rc: must(reason),
    score: must(count),
    rid: may(requestId),
  }),
  distrust: kind<DistrustRecord>({
    model: must(token),
    milli: must(integer(1_000)),
    by: must(oneOf(["bill", "mesh"])),
    rid: may(requestId),
    rec: may(sha256Hex),
  }),
  kernel: kind<KernelRecord>({
    rc: must(reason),
    wrong: may(some(list(reason, KERNEL_FAULTS_MAX))),
    what: may(some(list(seenText, KERNEL_FAULTS_MAX))),
  }),
  genesis: kind<GenesisRecord>({
    origin: must(origin),
    rc: must(reason),
    prev: may(longText(QUOTED_CHECKPOINT_CHARS_MAX)),
  }),
  log: kind<LogRecord>({
    origin: must(origin),
    vkey: must(vkey),
    size: must(count),
    root: must(sha256Hex),
  }),
  close: kind<CloseRecord>({ rc: must(reason) }),
  redact: kind<RedactRecord>({ kid: must(token), by: must(token), rc: must(reason) }),
};

/** The writer of each kind of record, by its name. */
export const LEAF_WRITERS: ReadonlyMap<unknown, Writer> = new Map(
  Object.entries(KINDS).map(([k, make]) => [k, (make as (k: string) => Writer)(k)]),
);
