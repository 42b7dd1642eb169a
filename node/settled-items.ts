import { plus } from "./actors/account-book.ts";
import type { SettledItem } from "./thread-messages.ts";

/**
 * What was settled on a loop and is not told yet. An account's actor adds up what it is told, so what one
 * row settles meanwhile is told as a sum, in the name of the last request: a busy agent is one item, and
 * not some hundred.
 *
 * What an actor does not merely add up stands by itself: a bill above its hold, or one that nothing paid.
 */
export class SettledItems {
  #items: Sum[] = [];
  /** Where a row's sum stands among them. */
  readonly #sums = new Map<number, number>();

  get count(): number {
    return this.#items.length;
  }

  add(item: SettledItem): void {
    if (isNews(item) || item.overrunSpentMicros > 0n) {
      this.#items.push({ ...item });
      return;
    }
    const at = this.#sums.get(item.row);
    const before = at === undefined ? undefined : this.#items[at];
    // A row may have become another account's in between.
    if (before !== undefined && before.generation === item.generation) addTo(before, item);
    else this.#sums.set(item.row, this.#items.push({ ...item }) - 1);
  }

  /** All of them, in the order in which each was first added; then there are none. */
  take(): readonly SettledItem[] {
    const items = this.#items;
    this.#items = [];
    this.#sums.clear();
    return items;
  }
}

/** Whether it is to be told at once. */
export function isNews({ uncovered, distrustMilli }: SettledItem): boolean {
  return uncovered !== undefined || distrustMilli !== undefined;
}

/** An item that may still grow, and so is nobody else's. */
type Sum = { -readonly [Member in keyof SettledItem]: SettledItem[Member] };

/** The sum goes under the name of the last request, which is also the one that says what is the same in all. */
function addTo(sum: Sum, item: SettledItem): void {
  const { held, spent } = item;
  sum.requestId = item.requestId;
  sum.agentId = item.agentId;
  sum.contractId = item.contractId;
  sum.model = item.model;
  sum.held = plus(sum.held, held);
  sum.spent = plus(sum.spent, spent);
  sum.overrunHeldMicros += item.overrunHeldMicros;
}
