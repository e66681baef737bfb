/**
 * All that a hub of many nodes needs of Redis.
 *
 * @since 1.0.0
 */
import * as Layer from "effect/Layer"
import type { Broker } from "../channels/Broker.js"
import type { Cluster } from "../channels/Cluster.js"
import type { Presence } from "../channels/Presence.js"
import type { InvalidOption } from "../core/HubError.js"
import * as BrokerRedis from "./BrokerRedis.js"
import * as ClusterRedis from "./ClusterRedis.js"
import * as PresenceRedis from "./PresenceRedis.js"
import * as RedisConnection from "./RedisConnection.js"
import type { RedisOptions } from "./RedisOptions.js"

/**
 * The options of the connection, and how patient nodes are with each other.
 *
 * @since 1.0.0
 * @category models
 */
export interface Options extends RedisOptions {
  readonly nodes?: ClusterRedis.ClusterRedisOptions | undefined
}

/**
 * Broker, presence and cluster over one connection, which is there too, for those who ask whether Redis is. Does not wait
 * for Redis: until it is there, what needs it fails with 100. Bind it to a constant: each call makes another connection.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer = (
  { nodes, ...options }: Options = {}
): Layer.Layer<Broker | Presence | Cluster | RedisConnection.RedisConnection, InvalidOption> =>
  Layer.mergeAll(BrokerRedis.layer, PresenceRedis.layer, ClusterRedis.layer(nodes)).pipe(
    Layer.provideMerge(RedisConnection.layer(options))
  )
