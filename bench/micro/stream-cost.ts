import { DETECTORS } from "../../node/dataplane/scan/detectors.ts";
import {
  answerRules,
  contentRule,
  EVENT_STREAM,
  relay,
  streamOf,
} from "../../test/unit/node/dataplane/relay-fixture.ts";
import { type CostBeside, costBeside } from "./cost-of.ts";

const DELTAS = 100;

/** Relays a stream of 100 deltas to a client that only writes down: microseconds a delta. */
export function relayCost(): CostBeside {
  const detectors = DETECTORS.filter(({ label }) => label !== "pii");
  const rules = answerRules(
    detectors.map(({ id }) => contentRule({ id, pattern: undefined, detector: id })),
  );
  const words = Array.from({ length: DELTAS }, (_, i) => `word${i} `);
  const frames = streamOf("openai", words).map((frame) => Buffer.from(frame));
  return costBeside(() => {
    const { sink, exchange } = relay("openai", { rules });
    sink.onHead(200, EVENT_STREAM);
    for (const frame of frames) sink.onData(frame);
    sink.onEnd();
    if (!exchange.ended) throw new Error("the sample was cut");
    return exchange.written.length;
  }, DELTAS);
}
