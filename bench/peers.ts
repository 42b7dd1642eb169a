import { startUpstream } from "./fixtures/upstream.ts";
import { allowedLoad, CONNECTIONS } from "./harness/allowed-load.ts";
import type { Bench, Budget, Figure } from "./harness/bench.ts";
import { startMesh } from "./harness/mesh-under-test.ts";
import { judgePairs, PAIRS_MIN } from "./harness/paired.ts";
import { tellProgress } from "./harness/progress.ts";
import { startAltrace } from "./harness/start-altrace.ts";
import { startBareProxy } from "./harness/start-bare-proxy.ts";
import { untilServed } from "./harness/until-served.ts";
import { askedAtLeast } from "./harness/warm-up.ts";
import { bifrost } from "./peers/bifrost.ts";
import { bringPeer } from "./peers/bring-peer.ts";
import { haproxy } from "./peers/haproxy.ts";
import { litellm } from "./peers/litellm.ts";
import { measureRounds, type Round, WISHES } from "./peers/measure-rounds.ts";
import type { SliceMs } from "./peers/measure-target.ts";
import { nginx } from "./peers/nginx.ts";
import { NotToBeHad, type Peer } from "./peers/peer.ts";
import { DIRECT, peerTable } from "./peers/peer-table.ts";
import { portkey } from "./peers/portkey.ts";
import { type RunningPeer, startPeer } from "./peers/start-peer.ts";
import { answerOf, type Target } from "./peers/target.ts";

const PEERS: readonly Peer[] = [nginx, haproxy, portkey, litellm, bifrost];
const SLICE_MS: { readonly full: SliceMs; readonly short: SliceMs } = {
  full: { busy: 2_000, alone: 800 },
  short: { busy: 700, alone: 300 },
};
/**
 * Each is given the same, and the slowest at most that long. What V8 has not compiled by then costs half
 * as much again in the first rounds.
 */
const WARM_UP = {
  full: { answer: 40_000, stream: 4_000, msMax: 30_000 },
  short: { answer: 8_000, stream: 1_500, msMax: 8_000 },
};
const ALTRACE = "altrace";
/** What such work costs at the least in this language. */
const BARE = "bare proxy";

export const peers: Bench = {
  name: "peers",
  question: "What does the same work cost through Altrace, and through what one would else take?",
  run: async ({ isFull, durationMs }, budget) => {
    const sliceMs =
      durationMs === undefined ? SLICE_MS[isFull ? "full" : "short"] : halves(durationMs);
    await using stack = new AsyncDisposableStack();
    const altraceColdMs = await coldStartOfAltrace();
    // Whoever starts a mesh yields its own priority, and what it starts afterwards would inherit that:
    // all peers, and the provider that they ask, are there before.
    const upstream = stack.use(await startUpstream());
    const skipped = new Map<string, string>();
    const running: RunningPeer[] = [];
    for (const peer of PEERS) {
      const one = await bringAndStart(peer, { upstream: upstream.url, skipped });
      if (one !== undefined) running.push(stack.use(one));
    }
    const bare = stack.use(await startBareProxy(upstream.url));
    const { altrace, keys } = stack.use(await startMesh({}));
    await untilServed(altrace.ready.gateway, keys.neighbour);
    const targets: readonly Target[] = [
      { name: DIRECT, origin: upstream.url, key: "none" },
      { name: BARE, origin: bare.origin, key: "none", pid: bare.pid },
      ...running.map(({ target }) => target),
      { name: ALTRACE, origin: altrace.ready.gateway, key: keys.neighbour, pid: altrace.pid },
    ];
    for (const target of targets) {
      await checkWhole(target);
      for (const wish of WISHES) {
        const { [wish]: count, msMax } = WARM_UP[isFull ? "full" : "short"];
        await askedAtLeast({ count, msMax }, (ms) => allowedLoad({ ...target, wish, ms }));
      }
    }
    const rounds = await measureRounds(targets, sliceMs);
    const coldStartMs = new Map(running.map((one) => [one.target.name, one.coldStartMs]));
    coldStartMs.set(ALTRACE, altraceColdMs);
    return {
      load: `${PAIRS_MIN} rounds over all in turn; ${CONNECTIONS} connections for ${sliceMs.busy} ms, then one for ${sliceMs.alone} ms`,
      figures: [...running.map(({ target }) => target.name), BARE].flatMap((name) =>
        ratiosTo(name, rounds, budget),
      ),
      skipped,
      table: peerTable({ targets, rounds, coldStartMs, versions: VERSIONS }),
      notes: [...NOTES, ...PEERS.map(({ name, fairness }) => `${name}: ${fairness}`)],
    };
  },
};

const VERSIONS = new Map(PEERS.map(({ name, version }) => [name, version]));
const NOTES = [
  "CPU: user and system time of all processes of a target, per request; with it a machine of any " +
    "size can be filled, so it is what is compared. Requests a second are what eight connections of " +
    "one generator got, which shares two processors with what it asks: the fastest wait for it.",
  "Added: the time of one request at a time, less the same of the provider asked directly, round by " +
    "round; below 0 where a target joins the chunks of a stream, so that the generator has less to read than from the " +
    "provider directly. Cold start: from the start of the process to its first answer; of Altrace, with " +
    "an empty home, to a node, a coordinator and new keys that are ready.",
  "bare proxy: node:http in front, undici behind, and nothing decided, scanned, metered or written down.",
  "altrace: verifies the key, decides all 14 questions, scans the request and each delta of the answer " +
    "for secrets and card numbers, holds the worst case's price and settles it, and has a record of " +
    "both on disk; node, coordinator and log are in what is counted.",
];

/** Below 1: Altrace takes less. */
function ratiosTo(peer: string, rounds: readonly Round[], budget: Budget): Figure[] {
  return WISHES.map((wish) => {
    const name = ratioName(peer, wish);
    const pairs = rounds.map((round) => ({
      subject: round.get(ALTRACE)?.[wish].cpuMicros ?? Number.NaN,
      baseline: round.get(peer)?.[wish].cpuMicros ?? Number.NaN,
    }));
    const verdict = judgePairs(pairs, budget[name]?.must ?? Number.POSITIVE_INFINITY);
    return { name, value: verdict.median, unit: "x", pairs: verdict };
  });
}

function ratioName(peer: string, wish: (typeof WISHES)[number]): string {
  return `${wish === "answer" ? "json" : "sse"}_cpu_of_${peer.replace(" ", "_")}`;
}

function halves(durationMs: number): SliceMs {
  return { busy: durationMs, alone: durationMs / 2 };
}

/** A node with its coordinator and its demo provider, an empty HOME and new keys. */
async function coldStartOfAltrace(): Promise<number> {
  const startedNs = process.hrtime.bigint();
  await using _altrace = await startAltrace();
  return Number(process.hrtime.bigint() - startedNs) / 1e6;
}

async function bringAndStart(
  peer: Peer,
  of: { readonly upstream: string; readonly skipped: Map<string, string> },
): Promise<RunningPeer | undefined> {
  tellProgress(`${peer.name} ${peer.version}`);
  try {
    const folder = await bringPeer(peer);
    return await startPeer(peer, { folder, upstream: of.upstream });
  } catch (error) {
    if (!(error instanceof NotToBeHad)) throw error;
    tellProgress(`SKIPPED: ${peer.name}: ${error.message}`);
    for (const wish of WISHES) {
      of.skipped.set(
        ratioName(peer.name, wish),
        `${peer.version}, ${peer.origin}: ${error.message}`,
      );
    }
    return undefined;
  }
}

async function checkWhole(target: Target): Promise<void> {
  for (const wish of WISHES) {
    const { isWhole, text } = await answerOf(target, wish);
    if (!isWhole) throw new Error(`${target.name} does not do the work of ${wish}: ${text}`);
  }
}
