/**
 * An answer in bytes that a handler has already: they are sent as they are. It answers for their being
 * of the method's own message.
 */
export class EncodedMessage {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}
