import { createHmac, timingSafeEqual } from "node:crypto";

/** Ids of sessions at MCP servers, as their clients are given them: of no use to anybody else. */
export type McpSessions = {
  /** @param holder Whose session it is, and at which server. */
  given(holder: string, id: string): string;
  /** The server's own id; undefined for what was not given to this holder. */
  taken(holder: string, token: string): string | undefined;
};

/** Bytes of the code before an id: 128 bits, as base64url. */
const CODE_BYTES = 16;
const CODE_CHARS = 22;
const TOKEN = /^([A-Za-z0-9_-]{22})\.([\x21-\x7e]{1,512})$/;

/**
 * Puts a code before each id that only this node can make, over the holder and the id. So nothing is
 * kept of a session here, on whichever loop its requests come.
 *
 * @param secret Drawn anew at each start of the node: a client whose session is unknown begins another.
 */
export function createMcpSessions(secret: Uint8Array): McpSessions {
  const codeOf = (holder: string, id: string): Buffer =>
    createHmac("sha256", secret).update(`${holder}\0${id}`).digest().subarray(0, CODE_BYTES);
  return {
    given: (holder, id) => `${codeOf(holder, id).toString("base64url")}.${id}`,
    taken: (holder, token) => {
      const [, code = "", id = ""] = TOKEN.exec(token) ?? [];
      if (code.length !== CODE_CHARS) return undefined;
      const isOurs = timingSafeEqual(Buffer.from(code, "base64url"), codeOf(holder, id));
      return isOurs ? id : undefined;
    },
  };
}
