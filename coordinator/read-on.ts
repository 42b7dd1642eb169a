import type { Bus, BusMessage } from "../ports/bus.ts";

const PAGE_COUNT = 256;

/**
 * Reads a stream from a sequence to its end.
 *
 * @param onPage Takes in what was read, and the sequence up to which that is everything.
 * @throws BusFault
 */
export async function readOn(
  bus: Pick<Bus, "read">,
  from: { readonly stream: string; readonly seq: number },
  onPage: (messages: readonly BusMessage[], endSeq: number) => void,
): Promise<void> {
  const { stream, seq } = from;
  let page = await bus.read(stream, seq, PAGE_COUNT);
  for (let end = page.at(-1)?.seq; end !== undefined; end = page.at(-1)?.seq) {
    onPage(page, end);
    page = await bus.read(stream, end + 1, PAGE_COUNT);
  }
}
