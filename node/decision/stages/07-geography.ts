import { regionGranted } from "../../../policy/regions.ts";
import { type Facts, isMissing } from "../facts.ts";
import type { RowOutcome } from "../verdict.ts";

/**
 * May data go from here to there?
 *
 * A facet that policy leaves out is not bounded; a place that is not known is in no bound. Requests
 * without a model reach no provider, so only the source is asked.
 */
export function checkGeography(facts: Facts): RowOutcome {
  const regions = facts.grant?.regions;
  if (regions === undefined) return { reason: "no_grant" };
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
