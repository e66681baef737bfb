/** How long Redis keeps the position of a stream. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { StreamOptions } from "../../src/channels/Broker.js"
import { makeNode } from "./support/Nodes.js"
import { isRedisInstalled, makeRedisServer } from "./support/RedisServer.js"

const hour = 3_600_000

const stream: StreamOptions = { size: 10, ttl: 60_000, metaTtl: 24 * hour }

describe.skipIf(!isRedisInstalled)("the position of a stream", () => {
  it.scopedLive("is kept for an hour at most until something is published", () =>
    Effect.gen(function*() {
      const { cli, url } = yield* makeRedisServer()
      const { broker, redis } = yield* makeNode({ url })
      yield* redis.connected
      const ttl = Effect.map(cli("PTTL", redis.key("a", "m")), Number)
      const read = (options: StreamOptions) => Effect.map(broker.history("a", { stream: options }), (is) => is.position)
      const first = yield* read(stream)
      const created = yield* ttl
      assert.isAtMost(created, hour)
      assert.isAbove(created, hour / 2)
      assert.deepStrictEqual(yield* read({ ...stream, metaTtl: 90_000 }), first)
      assert.isAtMost(yield* ttl, 90_000)
      assert.deepStrictEqual(yield* read(stream), first)
      const renewed = yield* ttl
      assert.isAtMost(renewed, hour)
      assert.isAbove(renewed, hour / 2)

      assert.deepStrictEqual(yield* broker.publish("a", { data: "1", stream }), { ...first, offset: 1 })
      assert.isAbove(yield* ttl, hour)
      yield* cli("PEXPIRE", redis.key("a", "m"), "60000")
      yield* broker.removeHistory("a")
      assert.deepStrictEqual(yield* read(stream), { ...first, offset: 1 })
      assert.isAbove(yield* ttl, hour)
    }))
})
