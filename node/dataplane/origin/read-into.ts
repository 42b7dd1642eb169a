/**
 * What all connections of a thread are read into: each tells at once what it has read, and keeps copies alone. So a
 * read takes no memory, and thousands of connections no buffer each.
 */
export const READ_INTO = Buffer.allocUnsafeSlow(64 * 1024);
