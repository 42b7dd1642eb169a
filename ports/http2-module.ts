/**
 * `node:http2`, loaded when it is first asked for: that takes 40 ms of a processor, and few loops need it
 * (Node 26.10).
 */
export const http2 = () => process.getBuiltinModule("node:http2");
