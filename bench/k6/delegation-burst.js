// How many workers a second can orchestrators make, each with a part of their authority that works?
//
// KEY is that of a contract: `altrace contract issue <agent> --grant grant.json --max-depth 3`, whose grant has more
// than ALL. A contract has at most 32 delegations open: the root's holder makes orchestrators, these make
// foremen, and a foreman makes workers until it has as many as it may.

import { sleep } from "k6";
import exec from "k6/execution";
import http from "k6/http";
import { Counter, Trend } from "k6/metrics";
import { body, gateway, params, seconds, url } from "./lib/options.js";

const delegated = new Counter("delegated");
const refused = new Counter("delegation_refused");
const works = new Counter("worker_served");
const lame = new Counter("worker_refused");
const took = new Trend("delegation_ms", true);

const USERS = 4;
const OPEN_MAX = 32;

export const options = {
  scenarios: { delegating: { executor: "constant-vus", vus: USERS, duration: `${seconds}s` } },
  thresholds: {
    delegated: ["count>0"],
    delegation_refused: ["count==0"],
    worker_refused: ["count==0"],
  },
  summaryTrendStats: ["count", "p(50)", "p(99)", "max"],
};

/** What one worker has; who has workers under it has more than all of them. */
function grantOf(workers) {
  const bucket = (n) => ({ b: n * workers, n: n * workers, w: 1 });
  return JSON.stringify({
    grant: {
      budget: { calls: 100 * workers, tok: 100_000 * workers, usd_u: 5_000 * workers },
      rate: { req: bucket(50), tok: bucket(100_000), usd_u: bucket(100_000) },
    },
  });
}

const WORKER = grantOf(1);
const FOREMAN = grantOf(2 * OPEN_MAX);
const ALL = grantOf(4 * OPEN_MAX * OPEN_MAX);
const BODY = body("answer");
/** How often a new worker asks before it counts as lame. */
const TRIES = 50;

function delegate(grant, key) {
  return http.post(`${gateway}/altrace/v1/delegations`, grant, params(key));
}

/** One orchestrator's key for each delegation that the root may have. */
export function setup() {
  return Array.from({ length: OPEN_MAX }, () => {
    const made = delegate(ALL);
    if (made.status !== 201) throw new Error(`no orchestrator: ${made.status} ${made.body}`);
    return made.json("key");
  });
}

/** Of this user alone: the orchestrators that it asks as, one after another, and what they have made. */
let orchestrator = -1;
let foremen = OPEN_MAX;
let foreman;
let workers = OPEN_MAX;

function nextForeman(orchestrators) {
  if (foremen === OPEN_MAX) {
    orchestrator += 1;
    foremen = 0;
  }
  const key = orchestrators[exec.vu.idInTest - 1 + USERS * orchestrator];
  if (key === undefined) throw new Error("more workers than one root may have");
  const made = delegate(FOREMAN, key);
  foremen += 1;
  workers = 0;
  foreman = made.status === 201 ? made.json("key") : undefined;
}

export default function (orchestrators) {
  if (workers === OPEN_MAX || foreman === undefined) nextForeman(orchestrators);
  if (foreman === undefined) {
    refused.add(1);
    return;
  }
  const response = delegate(WORKER, foreman);
  took.add(response.timings.duration);
  if (response.status !== 201) {
    refused.add(1);
    return;
  }
  workers += 1;
  delegated.add(1);
  const key = response.json("key");
  for (let i = 0; i < TRIES; i += 1) {
    const answer = http.post(url, BODY, params(key));
    if (answer.status === 200) return works.add(1);
    // Its rate fills from nothing, and its money is borrowed at its first request.
    if (answer.status !== 429 && answer.status !== 503) break;
    sleep(Number(answer.headers["Retry-After-Ms"] || 20) / 1_000);
  }
  lame.add(1);
}
