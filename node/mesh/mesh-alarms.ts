/** What an operator should look at. */
export const MESH_ALARMS = [
  "record_refused",
  "versions_crossed",
  "sequence_reused",
  "repair_failed",
  "stored_record_unreadable",
  "store_failed",
  "intake_overflow",
  "host_slept",
  "kill_unrecorded",
  "policy_incomplete",
] as const;
export type MeshAlarm = (typeof MESH_ALARMS)[number];
