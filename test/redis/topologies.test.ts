/** Presence and the cluster of nodes where Redis is more than one server; the broker has its laws there. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, type Scope } from "effect"
import { PresenceLaws } from "effect-ws-hub/testing"
import { Cluster } from "../../src/channels/Cluster.js"
import { Presence } from "../../src/channels/Presence.js"
import * as Redis from "../../src/redis/Redis.js"
import { RedisConnection } from "../../src/redis/RedisConnection.js"
import type { RedisOptions } from "../../src/redis/RedisOptions.js"
import { until } from "./support/Nodes.js"
import { makeRedisCluster } from "./support/RedisCluster.js"
import { makeRedisSentinel } from "./support/RedisSentinel.js"
import { isRedisInstalled, makeRedisServer } from "./support/RedisServer.js"

const topologies: Record<string, Effect.Effect<RedisOptions, never, Scope.Scope>> = {
  "two servers": Effect.map(Effect.all([makeRedisServer(), makeRedisServer()]), (servers) => ({
    urls: servers.map(({ url }) => url)
  })),
  "a Cluster of three": Effect.map(makeRedisCluster(), (servers) => ({ cluster: servers.map(({ url }) => url) })),
  "a master with a Sentinel": Effect.map(makeRedisSentinel, ({ sentinel }) => ({
    sentinel: { name: "main", urls: [sentinel.url] }
  }))
}

for (const [name, topology] of Object.entries(topologies)) {
  describe.skipIf(!isRedisInstalled)(name, () => {
    it.scopedLive("presence keeps its laws, and nodes find and ask each other", () =>
      Effect.gen(function*() {
        const options = yield* topology
        const makeNode = Effect.tap(
          Layer.build(Redis.layer({ ...options, nodes: { timeout: 1000, lease: 3000 } })),
          (context) => Context.get(context, RedisConnection).connected
        )
        const [one, two] = [yield* makeNode, yield* makeNode]
        for (const { check } of PresenceLaws.laws({ wait: Effect.sleep, tick: 200, numRuns: 1 })) {
          yield* Effect.scoped(Effect.provideService(check, Presence, Context.get(one, Presence)))
        }
        yield* Context.get(two, Cluster).join({ uid: "two", answer: (text) => Effect.succeed(`two heard ${text}`) })
        const ask = yield* Context.get(one, Cluster).join({ uid: "one", answer: () => Effect.succeed("one") })
        yield* until(
          Effect.match(ask("?"), {
            onFailure: () => false,
            onSuccess: ({ answers }) => answers.some(({ node }) => node === "two")
          })
        )
        const { answers, missing } = yield* ask("this")
        assert.deepStrictEqual(missing, [])
        assert.deepStrictEqual(answers.map(({ node }) => node), ["two"])
        assert.match(JSON.stringify(answers), /two heard this/)
      }), 60_000)
  })
}
