import type { Reason } from "../../../proto/reasons.ts";

const ALERT_RECORD = 21;
const FATAL = 2;
const DESCRIPTION = {
  decodeError: 50,
  accessDenied: 49,
  internalError: 80,
  unrecognizedName: 112,
} as const;

/**
 * The refusal of a TLS connection before its handshake, as a client's TLS shows it: an alert in the
 * clear. Why in words stands in the log.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8446#section-6
 */
export function tlsAlert(reason: Reason): Buffer {
  return Buffer.of(ALERT_RECORD, 3, 3, 0, 2, FATAL, descriptionOf(reason));
}

function descriptionOf(reason: Reason): number {
  switch (reason) {
    case "tls_malformed":
    case "tls_required":
      return DESCRIPTION.decodeError;
    case "server_name_missing":
    case "server_name_mismatch":
    case "name_unresolved":
      return DESCRIPTION.unrecognizedName;
    case "upstream_unreachable":
    case "upstream_timeout":
    case "stage_failed":
      return DESCRIPTION.internalError;
    default:
      return DESCRIPTION.accessDenied;
  }
}
