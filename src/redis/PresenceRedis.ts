/**
 * Who is in a channel, for a hub of many nodes.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Presence } from "../channels/Presence.js"
import * as Scripts from "./PresenceScripts.js"
import { RedisConnection } from "./RedisConnection.js"

/** Until there is an answer. What is over is cleaned in steps, between which Redis does other work. */
const whole = <A, E>(step: Effect.Effect<A | undefined, E>): Effect.Effect<A, E> =>
  Effect.flatMap(step, (answer) => answer === undefined ? whole(step) : Effect.succeed(answer))

/**
 * Makes a presence over the connection.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make: Effect.Effect<Presence["Type"], never, RedisConnection> = Effect.map(
  RedisConnection,
  (redis) => {
    const keys = (channel: string) => [
      redis.key(channel, "presence"),
      redis.key(channel, "leases"),
      redis.key(channel, "users")
    ]
    return Presence.of({
      add: (channel, info, ttl) =>
        Effect.suspend(() =>
          redis.run(Scripts.add, channel, keys(channel), [
            info.client,
            Scripts.encode(info),
            `${Math.max(1, Math.round(ttl))}`
          ])
        ),
      remove: (channel, { client }) =>
        Effect.suspend(() => redis.run(Scripts.remove, channel, keys(channel), [client])),
      get: (channel) => whole(redis.run(Scripts.get, channel, keys(channel), [])),
      stats: (channel) => whole(redis.run(Scripts.stats, channel, keys(channel), []))
    })
  }
)

/**
 * Who is in a channel, for a hub of many nodes. Leases follow the clock of Redis. What a node that was killed has left is
 * not seen after the lease, and is cleaned by the next one who asks or comes; nothing is left of a channel without any.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer: Layer.Layer<Presence, never, RedisConnection> = Layer.effect(Presence, make)
