import { describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Scope } from "effect"
import { BrokerLaws } from "effect-ws-hub/testing"
import { Broker } from "../../src/channels/Broker.js"
import * as BrokerRedis from "../../src/redis/BrokerRedis.js"
import * as RedisConnection from "../../src/redis/RedisConnection.js"
import type { RedisOptions } from "../../src/redis/RedisOptions.js"
import { isRedisInstalled, makeRedisServer } from "./support/RedisServer.js"

const long = process.env["TEST_LONG"] === undefined ? 1 : 10

/** Where the broker's nodes are. */
class Stage extends Context.Tag("Stage")<Stage, {
  readonly node: Effect.Effect<Broker["Type"]>
  readonly lose: (channel: string) => Effect.Effect<unknown>
}>() {}

const makeNode = (options: RedisOptions) =>
  Effect.gen(function*() {
    const redis = yield* RedisConnection.make(options)
    yield* redis.connected
    const broker = yield* Effect.provideService(BrokerRedis.make, RedisConnection.RedisConnection, redis)
    return { redis, broker }
  })

/** Loses the stream of a channel, as if the server had forgotten it. */
const forget = { name: "forget", lua: "return redis.call('DEL', KEYS[1], KEYS[2])", decode: () => undefined }

const stageOf = (servers: Effect.Effect<RedisOptions, never, Scope.Scope>) =>
  Layer.scoped(
    Stage,
    Effect.gen(function*() {
      const scope = yield* Effect.scope
      const options = yield* servers
      const { redis } = yield* makeNode(options)
      return {
        node: makeNode(options).pipe(Effect.map(({ broker }) => broker), Scope.extend(scope), Effect.orDie),
        lose: (channel: string) =>
          Effect.orDie(redis.run(forget, channel, [redis.key(channel, "m"), redis.key(channel, "s")], []))
      }
    }).pipe(Effect.orDie)
  )

const stages = {
  "one server": stageOf(Effect.map(makeRedisServer(), ({ url }) => ({ url }))),
  "three servers": stageOf(
    Effect.map(Effect.all([makeRedisServer(), makeRedisServer(), makeRedisServer()]), (servers) => ({
      urls: servers.map(({ url }) => url)
    }))
  )
}

for (const [name, stage] of Object.entries(stages)) {
  const nodes = Layer.provideMerge(Layer.effect(Broker, Effect.flatMap(Stage, ({ node }) => node)), stage)
  describe.skipIf(!isRedisInstalled)(`the laws hold of the broker on Redis, on ${name}`, () => {
    it.layer(nodes, { excludeTestServices: true })((it) => {
      const options: BrokerLaws.BrokerLawsOptions<Stage> = {
        wait: Effect.sleep,
        tick: 100,
        numRuns: 3 * long,
        another: Effect.flatMap(Stage, ({ node }) => node),
        lose: (channel) => Effect.flatMap(Stage, ({ lose }) => lose(channel))
      }
      for (const { check, name } of BrokerLaws.laws(options)) it.scoped(name, () => check)
    })
  })
}
