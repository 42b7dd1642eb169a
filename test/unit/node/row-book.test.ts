import { expect, test } from "vitest";
import { RowBook } from "../../../node/row-book.ts";

const TABLE_ROWS = 8;

function bookOf() {
  const active = new Set<string>();
  const book = new RowBook();
  const put = (account: string, row: number, agentId = account.slice("agent/".length)) => {
    active.add(account);
    book.put(account, { row, generation: 1, agentId }, true);
    book.noteActor(account, "came");
  };
  const leave = (account: string) => {
    active.delete(account);
    book.noteActor(account, "left");
  };
  const idle = (tableRows = TABLE_ROWS) => [
    ...book.idleAgents(tableRows, (account) => active.has(account)),
  ];
  return { book, active, put, leave, idle };
}

test("agents give up their rows in the order in which their actors left, once half of all are in use", () => {
  const { book, active, put, leave, idle } = bookOf();
  for (let row = 0; row < 4; row += 1) put(`agent/t/${row}`, row);
  leave("agent/t/2");
  leave("agent/t/0");
  leave("agent/never/here");
  expect(idle()).toEqual([]);
  put("agent/t/4", 4);
  book.noteActor("agent/t/4", "changed");
  expect(idle()).toEqual(["t/2", "t/0"]);
  active.add("agent/t/2");
  book.noteActor("agent/t/2", "came");
  expect(idle()).toEqual(["t/0"]);
  book.freed("agent/t/0", { row: 0, generation: 1 });
  expect(idle(1)).toEqual([]);
  expect(book.of("agent/t/0")).toBeUndefined();
});

test("an account whose row has changed keeps the one that it has now", () => {
  const { book, put } = bookOf();
  put("agent/t/1", 1);
  book.put("agent/t/1", { row: 2, generation: 5, agentId: "t/1" }, true);
  book.freed("agent/t/1", { row: 1, generation: 1 });
  expect(book.of("agent/t/1")).toEqual({ row: 2, generation: 5, agentId: "t/1" });
  // The same row was given up and given to it again in between.
  book.freed("agent/t/1", { row: 2, generation: 4 });
  expect(book.of("agent/t/1")).toEqual({ row: 2, generation: 5, agentId: "t/1" });
});

test("no more agents give up their rows in one go than the mesh thread frees meanwhile", () => {
  const { book, idle } = bookOf();
  const names = Array.from({ length: 1_025 }, (_, no) => `t/${no}`);
  for (const [row, agentId] of names.entries()) {
    book.put(`agent/${agentId}`, { row, generation: 1, agentId }, false);
  }
  expect(idle()).toEqual(names.slice(0, 1_024));
});

test("an account that cannot be served, so that there is no actor, gives up its row too", () => {
  const { book, idle } = bookOf();
  book.put("agent/t/1", { row: 1, generation: 1, agentId: "t/1" }, false);
  expect(idle(1)).toEqual(["t/1"]);
});

test("nobody gives up a row while one of their contracts is in use", () => {
  const { book, active, put, leave, idle } = bookOf();
  put("agent/t/1", 1);
  put("contract/c", 2, "t/1");
  book.contractCame("contract/c", "t/1");
  leave("agent/t/1");
  expect(idle(1)).toEqual([]);
  active.add("agent/t/1");
  book.noteActor("agent/t/1", "came");
  leave("contract/c");
  expect(idle(1)).toEqual([]);
  leave("agent/t/1");
  expect(new Set(idle(1))).toEqual(new Set(["t/1"]));
  book.freed("contract/c", { row: 2, generation: 1 });
  expect([...book.contractsOf("t/1")]).toEqual([]);
});
