import type { DecisionRecord, SettleRecord } from "../../audit/record.ts";
import type { ContractAccount } from "../../coordinator/contract-account.ts";
import type { Lease } from "../../coordinator/ledger-lease.ts";
import type { MeshRecord } from "../../mesh/record.ts";
import type { RecordFate } from "./sim-log.ts";
import type { Bill } from "./sim-provider.ts";

/** Where something happened: a node, and which of its starts. */
export type At = { readonly node: string; readonly bootId: string };

/** What a run is judged by. Told in the order in which it happens. */
export type SimEvent =
  /** The log took a decision, or the outcome of a request. */
  | (At & { readonly t: "decided"; readonly record: DecisionRecord })
  | (At & {
      readonly t: "settled";
      readonly record: SettleRecord;
      /** What became of its record; the outcome stands all the same. */
      readonly fate: RecordFate;
    })
  /** The provider has the head of a request, and will bill it. */
  | (At & {
      readonly t: "sent";
      readonly requestId: string;
      readonly agentId: string;
      /** The contract that it runs under. */
      readonly contractId: string | undefined;
      readonly bill: Bill;
    })
  /** A node told the mesh what it has done about a record. */
  | (At & {
      readonly t: "acked";
      readonly scope: string;
      readonly v: number;
      readonly isDurable: boolean;
      /** The record is a kill, and current on this node. */
      readonly isKill: boolean;
    })
  /** A node said how it is. */
  | (At & { readonly t: "beat"; readonly isOpen: boolean; readonly stateHash: string })
  /** A coordinator said what the mesh's state is. */
  | {
      readonly t: "digest";
      readonly stateHash: string;
      /** Whether its state has the scope's kill of that version, or what came after it. */
      readonly knowsKill: (scope: string, v: number) => boolean;
    }
  /** A coordinator leads the ledger from now on. */
  | { readonly t: "led"; readonly coordinator: string }
  /** A kill or a revive is in force on a node. */
  | (At & { readonly t: "enforced"; readonly record: MeshRecord })
  /** A node is up again, and what its disk had is in force. */
  | (At & { readonly t: "restored"; readonly versionOf: (scope: string) => number })
  /** An operator was told that a kill is accepted. */
  | { readonly t: "accepted"; readonly scope: string; readonly v: number }
  /** The stream holds a record. */
  | { readonly t: "committed"; readonly record: MeshRecord }
  /** An operator was told that a revive is committed. */
  | { readonly t: "revived"; readonly scope: string; readonly v: number }
  /** The ledger, where it lies, holds another state of a lease. */
  | {
      readonly t: "lease";
      readonly before: JournalLease | undefined;
      readonly after: JournalLease;
    }
  /** The same of the account of a contract. */
  | {
      readonly t: "contract";
      readonly before: ContractAccount | undefined;
      readonly after: ContractAccount;
    }
  /** All of one commit of the ledger, or of one link of its journal, has been told. */
  | { readonly t: "written" }
  /**
   * The stream has lost a link of the ledger's journal, and another has its number now.
   * `isKept`: it is in the stream all the same, or was on a coordinator's disk.
   */
  | {
      readonly t: "undone";
      readonly n: number;
      readonly isKept: boolean;
      /** Ids of leases that it had granted or changed. */
      readonly leases: readonly string[];
    }
  /** What an operator has signed as the most that an account may spend. */
  | { readonly t: "limited"; readonly account: string; readonly usdMicros: number }
  /** A part of the product reported a fault of its own. */
  | { readonly t: "bug"; readonly where: string; readonly error: unknown }
  /** The final question of an agent that has money left, and its answer. */
  | {
      readonly t: "probed";
      readonly node: string;
      readonly agentId: string;
      readonly reason: string;
      /** What the ledger could still lend, and what the request costs at most, micro-dollars. */
      readonly availableMicros: number;
      readonly costMicros: number;
    };

/** A lease as it is where the ledger lies. */
export type JournalLease = Omit<Lease, "knownSinceMs">;
