import { assert, describe, it } from "@effect/vitest"
import { Chunk, Effect, Queue } from "effect"
import * as RedisConnection from "../../src/redis/RedisConnection.js"
import type { RedisScript } from "../../src/redis/RedisScripts.js"
import { isRedisInstalled, makeRedisServer } from "./support/RedisServer.js"

const append: RedisScript<string> = {
  name: "append",
  lua: "redis.call('APPEND', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])",
  decode: String
}

describe.skipIf(!isRedisInstalled)("the connection to Redis", () => {
  it.scopedLive("runs scripts, and hears what is published", () =>
    Effect.gen(function*() {
      const { url } = yield* makeRedisServer()
      const redis = yield* RedisConnection.make({ url })
      yield* redis.connected
      assert.isTrue(yield* redis.isConnected)
      const key = redis.key("a}b", "k")
      assert.strictEqual(yield* redis.run(append, "a}b", [key], ["x"]), "x")
      assert.strictEqual(yield* redis.run(append, "a}b", [key], ["y"]), "xy")

      const heard = yield* Queue.unbounded<readonly [string, string]>()
      yield* redis.listen({
        onMessage: (owner, message) => Queue.unsafeOffer(heard, [owner, message]),
        onGap: (owner) => Queue.unsafeOffer(heard, [owner, "gap"])
      })
      yield* redis.subscribe("a}b")
      yield* redis.publish("a", "not heard")
      yield* redis.publish("a}b", "one")
      yield* redis.publish("a}b", "\u{1F600}")
      assert.deepStrictEqual(Chunk.toArray(yield* Queue.takeN(heard, 2)), [["a}b", "one"], ["a}b", "\u{1F600}"]])
      yield* redis.unsubscribe("a}b")
      yield* redis.publish("a}b", "left")
      yield* redis.subscribe("a}b")
      yield* redis.publish("a}b", "two")
      assert.deepStrictEqual(yield* Queue.take(heard), ["a}b", "two"])
    }))
})
