/**
 * Every bound of one HTTP/2 connection, beside those of its requests, which are the gateway's: name, unit,
 * default. A connection that goes over one of them is ended, `http2_flood`, unless it says otherwise.
 *
 * Bounds on requests and on their heads are told to the client, which keeps to them by itself.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9113#section-10.5
 */
export type Http2Limits = {
  /** Requests under way at once. */
  readonly streamsMax: number;
  /** Requests that are given up before their answer has ended, in one second. */
  readonly resetsPerSecondMax: number;
  /** PING and SETTINGS frames, in one second. */
  readonly controlFramesPerSecondMax: number;
  /**
   * Header list that is read at all, bytes as RFC 9113 counts them. Above `headBytesMax` of the gateway it is
   * refused, `head_too_large`; above this its stream is reset (ENHANCE_YOUR_CALM) unread.
   */
  readonly headerListBytesMax: number;
  /** Headers that are read at all, likewise; refused above `headersMax` of the gateway. */
  readonly headerPairsMax: number;
  /** Streams that are refused for want of memory, one after another. */
  readonly unreadMax: number;
  /**
   * Frames that mean nothing where they stand, such as empty ones; and requests beyond `streamsMax` that are reset
   * for as long as the client has not said that it knows of that bound.
   */
  readonly invalidFramesMax: number;
  /**
   * Memory of the protocol's own state, megabytes; new streams are refused above it. What the other bounds let a
   * client hold is less.
   */
  readonly stateMbMax: number;
};

export const HTTP2_LIMITS: Http2Limits = {
  streamsMax: 100,
  resetsPerSecondMax: 100,
  controlFramesPerSecondMax: 100,
  headerListBytesMax: 64 * 1024,
  headerPairsMax: 512,
  unreadMax: 20,
  invalidFramesMax: 50,
  stateMbMax: 10,
};

/** CONTINUATION frames of one head: the protocol library's own bound, which Node does not let be set. */
export const CONTINUATIONS_MAX = 8;
