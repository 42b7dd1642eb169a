/** So much of a body is looked at; official clients name the model within its first hundred bytes. */
export const ASKED_MODEL_BYTES_MAX = 16_384;
/** And in so many pieces: each is looked at together with those before it. */
const PIECES_MAX = 16;

/**
 * Finds the model that a refused request names in a body which nobody else reads.
 *
 * A guess for an operator's eyes, and nothing is decided by it: the first member of that name in the
 * bytes as they come. Text within a string cannot pass for one, because its quotes are escaped.
 *
 * @returns Takes the next piece of the body; calls `onModel` at most once.
 */
export function askedModel(onModel: (model: string) => void): (piece: Uint8Array) => void {
  let text = "";
  let pieces = 0;
  let isOver = false;
  return (piece) => {
    if (isOver) return;
    text += Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength).toString("latin1");
    const [, model] = MEMBER.exec(text) ?? [];
    pieces += 1;
    isOver = model !== undefined || pieces >= PIECES_MAX || text.length >= ASKED_MODEL_BYTES_MAX;
    if (model !== undefined) onModel(model);
  };
}

const MEMBER = /(?<!\\)"model"[ \t\r\n]{0,16}:[ \t\r\n]{0,16}"([^"\\]{1,128})"/;
