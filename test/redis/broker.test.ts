import { describe, layer } from "@effect/vitest"
import { Context, Effect, Layer, Scope } from "effect"
import { BrokerLaws } from "effect-ws-hub/testing"
import { Broker } from "../../src/channels/Broker.js"
import type { RedisOptions } from "../../src/redis/RedisOptions.js"
import { makeNode } from "./support/Nodes.js"
import { makeRedisCluster } from "./support/RedisCluster.js"
import { makeRedisSentinel } from "./support/RedisSentinel.js"
import { anyRedisServer, isRedisInstalled, isRedisThere, makeRedisServer } from "./support/RedisServer.js"

const long = process.env["TEST_LONG"] === undefined ? 1 : 10

/** Where the broker's nodes are. */
class Stage extends Context.Tag("Stage")<Stage, {
  readonly node: Effect.Effect<Broker["Type"]>
  readonly lose: (channel: string) => Effect.Effect<unknown>
}>() {}

const connect = (options: RedisOptions) => Effect.tap(makeNode(options), ({ redis }) => redis.connected)

/** Loses the stream of a channel, as if the server had forgotten it. */
const forget = { name: "forget", lua: "return redis.call('DEL', KEYS[1], KEYS[2])", decode: () => undefined }

const stageOf = (servers: Effect.Effect<RedisOptions, never, Scope.Scope>) =>
  Layer.scoped(
    Stage,
    Effect.gen(function*() {
      const scope = yield* Effect.scope
      const options = yield* servers
      const { redis } = yield* connect(options)
      return {
        node: connect(options).pipe(Effect.map(({ broker }) => broker), Scope.extend(scope), Effect.orDie),
        lose: (channel: string) =>
          Effect.orDie(redis.run(forget, channel, [redis.key(channel, "m"), redis.key(channel, "s")], []))
      }
    }).pipe(Effect.orDie)
  )

const stages = {
  "one server": stageOf(anyRedisServer),
  "three servers": stageOf(
    Effect.map(Effect.all([makeRedisServer(), makeRedisServer(), makeRedisServer()]), (servers) => ({
      urls: servers.map(({ url }) => url)
    }))
  ),
  "a Cluster of three": stageOf(
    Effect.map(makeRedisCluster(), (servers) => ({ cluster: servers.map(({ url }) => url) }))
  ),
  "a master with a Sentinel": stageOf(
    Effect.map(makeRedisSentinel, ({ sentinel }) => ({ sentinel: { name: "main", urls: [sentinel.url] } }))
  )
}

for (const [name, stage] of Object.entries(stages)) {
  const nodes = Layer.provideMerge(Layer.effect(Broker, Effect.flatMap(Stage, ({ node }) => node)), stage)
  const isThere = name === "one server" ? isRedisThere : isRedisInstalled
  describe.skipIf(!isThere)(`the laws hold of the broker on Redis, on ${name}`, () => {
    layer(nodes, { excludeTestServices: true })((it) => {
      const options: BrokerLaws.BrokerLawsOptions<Stage> = {
        wait: Effect.sleep,
        tick: 200,
        numRuns: 2 * long,
        another: Effect.flatMap(Stage, ({ node }) => node),
        lose: (channel) => Effect.flatMap(Stage, ({ lose }) => lose(channel))
      }
      for (const { check, name } of BrokerLaws.laws(options)) it.scoped(name, () => check)
    })
  })
}
