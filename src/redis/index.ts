/**
 * Hubs of many nodes, on Redis.
 *
 * @since 1.0.0
 */
export * as BrokerRedis from "./BrokerRedis.js"
export * as ClusterRedis from "./ClusterRedis.js"
export * as PresenceRedis from "./PresenceRedis.js"
export * as Redis from "./Redis.js"
export * as RedisConnection from "./RedisConnection.js"
export * as RedisMetrics from "./RedisMetrics.js"
export * as RedisOptions from "./RedisOptions.js"
export type { RedisScript } from "./RedisScripts.js"
