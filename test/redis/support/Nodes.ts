import { Effect, Logger, LogLevel, Queue } from "effect"
import type { BrokerEvent } from "../../../src/channels/Broker.js"
import * as BrokerRedis from "../../../src/redis/BrokerRedis.js"
import * as RedisConnection from "../../../src/redis/RedisConnection.js"
import type { RedisOptions } from "../../../src/redis/RedisOptions.js"

/** A node's connection and broker, and all that its listener is told. */
export const makeNode = (options: RedisOptions, isLogged = false) =>
  Effect.gen(function*() {
    const redis = yield* RedisConnection.make(options)
    const broker = yield* Effect.provideService(BrokerRedis.make, RedisConnection.RedisConnection, redis)
    const events = yield* Queue.unbounded<BrokerEvent>()
    yield* broker.listen((event) => void Queue.unsafeOffer(events, event))
    return { redis, broker, events }
  }).pipe(isLogged ? Logger.withMinimumLogLevel(LogLevel.Debug) : Logger.withMinimumLogLevel(LogLevel.None))

/** Again until it succeeds; the test's own timeout ends it. */
export const persist = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, never, R> =>
  Effect.eventually(Effect.tapError(effect, () => Effect.sleep(10)))

export const until = (holds: Effect.Effect<boolean>): Effect.Effect<void> =>
  persist(Effect.filterOrFail(holds, (is) => is, () => "not yet"))
