import type { Wait as TextWait } from "./answer-scan.ts";
import type { OpenCall } from "./call-judge.ts";

/** What a frame waits for: a place in a text that is clear, or a call that was judged. */
export type Wait = TextWait | OpenCall;

/** What a frame takes beside its bytes: a stream may be nothing but empty lines. */
const FRAME_COST_BYTES = 256;

/**
 * The frames of a stream that may not leave yet, in their order.
 *
 * H1. Frames leave in the order in which they came, each whole.
 * H2. No frame leaves while a match that is still possible begins in one of its texts, or with a part
 *     of a call whose arguments are to be judged and are not whole.
 */
export class HoldBack {
  #frames: { readonly bytes: Uint8Array; readonly waits: readonly Wait[] }[] = [];
  #bytes = 0;

  /** Memory that the frames which wait take up, about: their bytes and a fixed part for each. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes a frame and gives `release` every frame that may leave now.
   *
   * @param waits What has to be over first.
   */
  pass(bytes: Uint8Array, waits: readonly Wait[], release: (bytes: Uint8Array) => void): void {
    if (this.#frames.length === 0 && waits.every(isOver)) {
      release(bytes);
      return;
    }
    this.#frames.push({ bytes, waits });
    this.#bytes += bytes.length + FRAME_COST_BYTES;
    let free = 0;
    for (const frame of this.#frames) {
      if (!frame.waits.every(isOver)) break;
      release(frame.bytes);
      this.#bytes -= frame.bytes.length + FRAME_COST_BYTES;
      free += 1;
    }
    if (free > 0) this.#frames.splice(0, free);
  }
}

function isOver(wait: Wait): boolean {
  return "isJudged" in wait ? wait.isJudged : wait.channel.isClear(wait.end);
}
