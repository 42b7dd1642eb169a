import {
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from "@nats-io/jetstream";
import { errorMessage } from "../ports/error-message.ts";
import { COMMITTED_PATTERN, REVOCATION_STREAM } from "../proto/subjects.ts";
import { DUPLICATE_WINDOW_MS } from "./bus-log.ts";
import { STREAMS, type StreamShape } from "./bus-subject.ts";
import type { NatsBus } from "./nats-bus.ts";

/** Disk that each stream may fill. A full one refuses appends; none but the journal forgets. */
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

/** Servers whose copy is not current, or of which the leader hears nothing: by stream, where there are any. */
export type ServersBehind = ReadonlyMap<string, readonly string[]>;

/** Nobody speaks for some of the streams. */
export class StreamsSilent extends Error {
  /** Why, by stream. */
  readonly silent: ReadonlyMap<string, string>;
  /** Of those that were spoken for. */
  readonly behind: ServersBehind;

  constructor(silent: ReadonlyMap<string, string>, behind: ServersBehind) {
    super([...silent].map(([stream, why]) => `stream ${stream}: ${why}`).join("; "));
    this.name = "StreamsSilent";
    this.silent = silent;
    this.behind = behind;
  }
}

/**
 * Makes the mesh's streams where they are missing, and checks those that are there.
 *
 * @param replicas Servers that hold each stream: 1 or 3.
 * @returns What each stream's leader says of its other servers.
 * @throws StreamConfigFault A stream is configured otherwise; nothing was changed.
 * @throws StreamsSilent Of some there is no answer; all others were looked at.
 * @throws BusFault `closed`: there is no connection.
 */
export async function ensureStreams(
  bus: NatsBus,
  options: { readonly replicas: 1 | 3 },
): Promise<ServersBehind> {
  const manager = bus.manager();
  const behind = new Map<string, readonly string[]>();
  const silent = new Map<string, string>();
  // Together: one that nobody speaks for keeps none of the others waiting.
  const infos = await Promise.allSettled(STREAMS.map(({ name }) => infoOf(manager, name)));
  for (const [at, shape] of STREAMS.entries()) {
    const info = infos[at] as PromiseSettledResult<StreamInfo | undefined>;
    if (info.status === "rejected") silent.set(shape.name, errorMessage(info.reason));
    else {
      const names = await ensureStream(manager, configFor(shape, options.replicas), info.value);
      if (names.length > 0) behind.set(shape.name, names);
    }
  }
  if (silent.size > 0) throw new StreamsSilent(silent, behind);
  return behind;
}

function serversBehind({ cluster }: StreamInfo): readonly string[] {
  const others = cluster?.replicas ?? [];
  return others
    .filter(({ current, offline }) => !current || offline === true)
    .map(({ name }) => name);
}

type WantedConfig = Pick<StreamConfig, "name"> & Partial<StreamConfig>;

function configFor(shape: StreamShape, replicas: number): WantedConfig {
  const { name, prefix, keeps, republished } = shape;
  return {
    name,
    subjects: [`${prefix}>`],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    num_replicas: replicas,
    // State, not history, except for the journal: its older part is covered by a snapshot.
    ...(keeps === "last"
      ? { max_msgs_per_subject: 1, discard: DiscardPolicy.New }
      : { max_msgs: keeps, discard: DiscardPolicy.Old }),
    max_bytes: STREAM_BYTES_MAX,
    allow_direct: true,
    // Nobody who may publish may also make a kill disappear.
    deny_delete: true,
    deny_purge: true,
    duplicate_window: DUPLICATE_WINDOW_MS * 1_000_000,
    max_age: name === REVOCATION_STREAM ? REVOCATION_MAX_AGE_MS * 1_000_000 : 0,
    ...(republished ? { republish: { src: `${prefix}>`, dest: COMMITTED_PATTERN } } : {}),
  };
}

/** Returns which of its servers are behind. */
async function ensureStream(
  manager: JetStreamManager,
  wanted: WantedConfig,
  existing: StreamInfo | undefined,
): Promise<readonly string[]> {
  if (!existing) {
    await manager.streams.add(wanted);
    return [];
  }
  const differences = Object.entries(wanted).flatMap(([name, value]) => {
    const actual = existing.config[name as keyof StreamConfig];
    const isSame = JSON.stringify(actual ?? 0) === JSON.stringify(value ?? 0);
    return isSame ? [] : [`${name} is ${JSON.stringify(actual)}, not ${JSON.stringify(value)}`];
  });
  if (differences.length > 0) {
    throw new StreamConfigFault(`stream ${wanted.name}: ${differences.join("; ")}`);
  }
  return serversBehind(existing);
}

async function infoOf(manager: JetStreamManager, name: string): Promise<StreamInfo | undefined> {
  try {
    return await manager.streams.info(name);
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND) return undefined;
    throw error;
  }
}
