/**
 * Hubs of many nodes, on Redis.
 *
 * @since 1.0.0
 */
export * as RedisConnection from "./RedisConnection.js"
export * as RedisOptions from "./RedisOptions.js"
export type { RedisScript } from "./RedisScripts.js"
