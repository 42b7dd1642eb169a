/** The audit log cannot be written, synced or read. Whoever asked must not go on as if it could. */
export class AuditFault extends Error {
  override readonly name = "AuditFault";
}
