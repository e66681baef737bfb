/**
 * What is behind the hub: broker, presence and the other nodes, in memory or in Redis.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Broker } from "../channels/Broker.js"
import * as BrokerMemory from "../channels/BrokerMemory.js"
import type { Cluster } from "../channels/Cluster.js"
import type { Presence } from "../channels/Presence.js"
import * as PresenceMemory from "../channels/PresenceMemory.js"
import type { InvalidOption } from "../core/HubError.js"
import { type BrokerConfig, redisOptions } from "./BrokerConfig.js"
import * as OptionalPeer from "./OptionalPeer.js"
import type { Unusable } from "./Unusable.js"

/** Whether the hub can do without what is behind it. */
export class Readiness extends Context.Tag("effect-ws-hub/server/Readiness")<Readiness, {
  /** Completes when connections may come. Absent: at once. */
  readonly start: Effect.Effect<void> | undefined
  /** Why nothing works just now. Absent: it does. */
  readonly trouble: Effect.Effect<string | undefined>
}>() {}

type Services = Broker | Presence | Cluster | Readiness

const memory: Layer.Layer<Broker | Presence | Readiness> = Layer.mergeAll(
  BrokerMemory.layer,
  PresenceMemory.layer,
  Layer.succeed(Readiness, { start: undefined, trouble: Effect.succeed(undefined) })
)

/** Whoever has no Redis need not have its client. */
const load = OptionalPeer.load(
  // eslint-disable-next-line no-restricted-syntax -- an optional peer: an import statement would fail without it
  () => import("../redis/index.js"),
  /^(redis|@redis\/.*)$/,
  "broker.type is redis, and its client is not installed. Install it beside effect-ws-hub: npm install redis@6"
)

const redis = (config: BrokerConfig): Layer.Layer<Services, InvalidOption | Unusable> =>
  Layer.unwrapEffect(Effect.map(load, ({ Redis, RedisConnection: { RedisConnection } }) => {
    const { nodeTimeout, whileUnavailable } = config
    const readiness = Layer.effect(
      Readiness,
      Effect.map(RedisConnection, ({ connected, isConnected }) => ({
        start: whileUnavailable === "refuse" ? connected : undefined,
        trouble: Effect.map(isConnected, (is) => is ? undefined : "Redis does not answer")
      }))
    )
    return Layer.provideMerge(readiness, Redis.layer({ ...redisOptions(config), nodes: { timeout: nodeTimeout } }))
  }))

/**
 * Broker, presence and, if there are other nodes, how to ask them.
 */
export const layer = (
  config: BrokerConfig
): Layer.Layer<Broker | Presence | Readiness, InvalidOption | Unusable> =>
  config.type === "redis" ? redis(config) : memory
