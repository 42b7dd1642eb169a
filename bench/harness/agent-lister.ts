import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { ChannelCredentials, Client } from "@grpc/grpc-js";
import {
  ListAgentsRequestSchema,
  ListAgentsResponseSchema,
  NodeService,
} from "../../proto/gen/altrace/v1/node_service_pb.ts";

const PAGE_SIZE = 1_000;

/**
 * Lists all agents of a node and counts them, without decoding them: whoever lists would be on another
 * machine, and here it would take the node's processors for what nobody looks at.
 */
export class AgentLister implements Disposable {
  readonly #client: Client;

  /** @param address `unix:` and a path, as the node says it. */
  constructor(address: string) {
    this.#client = new Client(address, ChannelCredentials.createInsecure());
  }

  /** One list of at most `most` agents, page after page; how many it has. */
  async list(most: number, signal: AbortSignal): Promise<number> {
    let listed = 0;
    let pageToken = "";
    do {
      const page = countAgents(await this.#page(pageToken));
      listed += page.agents;
      pageToken = page.nextPageToken;
    } while (pageToken !== "" && listed < most && !signal.aborted);
    return listed;
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  #page(pageToken: string): Promise<Buffer> {
    const request = create(ListAgentsRequestSchema, { filter: "", pageToken, pageSize: PAGE_SIZE });
    const asIs = (bytes: Buffer): Buffer => bytes;
    const { parent, name } = NodeService.method.listAgents;
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        `/${parent.typeName}/${name}`,
        asIs,
        asIs,
        Buffer.from(toBinary(ListAgentsRequestSchema, request)),
        (error, answer) => (error ? reject(error) : resolve(answer as Buffer)),
      );
    });
  }
}

function countAgents(page: Buffer): { readonly agents: number; readonly nextPageToken: string } {
  const { agents: agent, nextPageToken: next } = ListAgentsResponseSchema.field;
  const reader = new BinaryReader(page);
  let agents = 0;
  let nextPageToken = "";
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === next.number) {
      nextPageToken = reader.string();
      continue;
    }
    if (field === agent.number) agents += 1;
    reader.skip(type);
  }
  return { agents, nextPageToken };
}
