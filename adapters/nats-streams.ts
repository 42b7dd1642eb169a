import {
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import {
  COMMITTED_PATTERN,
  CONTROL_PREFIX,
  CONTROL_STREAM,
  REVOCATION_PREFIX,
  REVOCATION_STREAM,
} from "../proto/subjects.ts";
import { DUPLICATE_WINDOW_MS } from "./bus-log.ts";
import type { NatsBus } from "./nats-bus.ts";

/** Disk that each stream may fill. A full one refuses appends; it forgets nothing. */
export const STREAM_BYTES_MAX = 256 * 1024 * 1024;
/** Contracts live at most 24 hours; their revocation outlives them. */
export const REVOCATION_MAX_AGE_MS = 26 * 60 * 60_000;

const STREAM_NOT_FOUND = 10059;

/** A stream of that name exists and is not what the mesh rests on. */
export class StreamConfigFault extends Error {
  constructor(message: string) {
    super(message);
    this.name = "StreamConfigFault";
  }
}

/**
 * Makes the mesh's streams where they are missing, and checks those that are there.
 *
 * @param replicas Servers that hold each stream: 1 or 3.
 * @throws StreamConfigFault A stream is configured otherwise; nothing was changed.
 * @throws BusFault `closed`: there is no connection.
 */
export async function ensureStreams(
  bus: NatsBus,
  options: { readonly replicas: 1 | 3 },
): Promise<void> {
  const manager = bus.manager();
  await ensureStream(manager, {
    ...common(options.replicas),
    name: CONTROL_STREAM,
    subjects: [`${CONTROL_PREFIX}>`],
    republish: { src: `${CONTROL_PREFIX}>`, dest: COMMITTED_PATTERN },
    max_age: 0,
  });
  await ensureStream(manager, {
    ...common(options.replicas),
    name: REVOCATION_STREAM,
    subjects: [`${REVOCATION_PREFIX}>`],
    republish: { src: `${REVOCATION_PREFIX}>`, dest: COMMITTED_PATTERN },
    max_age: REVOCATION_MAX_AGE_MS * 1_000_000,
  });
}

type WantedConfig = Pick<StreamConfig, "name"> & Partial<StreamConfig>;

function common(replicas: number): Partial<StreamConfig> {
  return {
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    num_replicas: replicas,
    // State, not history: of each subject the last message counts.
    max_msgs_per_subject: 1,
    max_bytes: STREAM_BYTES_MAX,
    discard: DiscardPolicy.New,
    allow_direct: true,
    // Nobody who may publish may also make a kill disappear.
    deny_delete: true,
    deny_purge: true,
    duplicate_window: DUPLICATE_WINDOW_MS * 1_000_000,
  };
}

async function ensureStream(manager: JetStreamManager, wanted: WantedConfig): Promise<void> {
  const existing = await configOf(manager, wanted.name);
  if (!existing) {
    await manager.streams.add(wanted);
    return;
  }
  const differences = Object.entries(wanted).flatMap(([name, value]) => {
    const actual = existing[name as keyof StreamConfig];
    const isSame = JSON.stringify(actual ?? 0) === JSON.stringify(value ?? 0);
    return isSame ? [] : [`${name} is ${JSON.stringify(actual)}, not ${JSON.stringify(value)}`];
  });
  if (differences.length > 0) {
    throw new StreamConfigFault(`stream ${wanted.name}: ${differences.join("; ")}`);
  }
}

async function configOf(
  manager: JetStreamManager,
  name: string,
): Promise<StreamConfig | undefined> {
  try {
    return (await manager.streams.info(name)).config;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND) return undefined;
    throw error;
  }
}
