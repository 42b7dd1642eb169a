import { placeGranted } from "../../../authority/geography.ts";
import { placedOn } from "../../../policy/placed-on.ts";
import { regionGranted } from "../../../policy/regions.ts";
import { type Facts, isCarriedUnread, isMissing } from "../facts.ts";
import { byContract, type RowOutcome } from "../verdict.ts";
import { effectiveOf } from "./05-contract.ts";

/**
 * May data go from here to there? First of all: may the agent work here?
 *
 * A facet that policy leaves out is not bounded, and a contract leaves none out; a place that is not
 * known is in no bound. Requests without a model reach no provider, so only the source is asked. What
 * passes a tunnel unread goes to no place that is known, so under a contract none is opened.
 */
export function checkGeography(facts: Facts): RowOutcome {
  const objection = contractObjection(facts);
  if (objection !== undefined) return objection;
  if (facts.grant === undefined) return { reason: "no_grant" };
  const { regions, nodes } = facts.grant;
  if (!placedOn(nodes, facts.node)) return { reason: "agent_not_placed", detail: facts.node };
  const { source, processing } = regions;
  if (source !== undefined && !regionGranted(source, facts.nodeRegion)) {
    return { reason: "source_region_not_granted", detail: facts.nodeRegion ?? "unknown" };
  }
  if (facts.model === undefined || isMissing(facts.model)) return "pass";
  const { region } = facts.model.provider;
  if (processing !== undefined && !regionGranted(processing, region)) {
    return { reason: "region_not_granted", detail: region ?? "unknown" };
  }
  return "pass";
}

/** A provider is where data goes out to, and where it is processed. */
function contractObjection(facts: Facts): RowOutcome | undefined {
  const places = effectiveOf(facts)?.geography;
  if (places === undefined) return undefined;
  const { nodeRegion, model } = facts;
  if (!placeGranted(places.src, nodeRegion)) {
    return byContract("source_region_not_granted", nodeRegion ?? "unknown");
  }
  // Nobody knows where a host is that serves no model, nor which data go there unread.
  if (isCarriedUnread(facts)) return byContract("region_not_granted", "unknown");
  if (model === undefined || isMissing(model)) return undefined;
  const { region } = model.provider;
  const isGranted = placeGranted(places.egr, region) && placeGranted(places.proc, region);
  return isGranted ? undefined : byContract("region_not_granted", region ?? "unknown");
}
