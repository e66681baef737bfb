import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ownerSlot } from "../../src/redis/RedisSlots.js"
import { clients, loaded, mendedBy, noticedBy, startNodes, under } from "./support/Load.js"
import { makeRedisCluster } from "./support/RedisCluster.js"
import { makeRedisSentinel } from "./support/RedisSentinel.js"
import { isRedisInstalled, type RedisServer } from "./support/RedisServer.js"

const owner = (masters: ReadonlyArray<RedisServer>, channel: string): RedisServer => {
  const found = masters[Math.floor(ownerSlot(channel) * masters.length / 16384)]
  if (found === undefined) throw new Error("There is no such server.")
  return found
}

const onSentinel = Effect.gen(function*() {
  const redis = yield* makeRedisSentinel
  const options = { sentinel: { name: "main", urls: [redis.sentinel.url] } }
  return { ...redis, ...yield* startNodes([options, options, options]) }
})

const onCluster = Effect.gen(function*() {
  const servers = yield* makeRedisCluster({ replicas: true })
  const options = { cluster: servers.map(({ url }) => url) }
  return { masters: servers.slice(0, 3), ...yield* startNodes([options, options, options]) }
})

describe.runIf(isRedisInstalled)("while 200 are published per second to twelve clients on three nodes", () => {
  it.scopedLive("the master that a Sentinel knows is killed: its replica goes on, and everybody is told", () =>
    Effect.gen(function*() {
      const course = yield* under(yield* onSentinel, ({ master }) => master.kill)
      assert.isAtLeast(course.failed, 1)
      assert.strictEqual(course.told, clients)
      noticedBy(course, ...course.said)
    }))

  it.scopedLive("the Sentinel is asked for another master: everybody is told", () =>
    Effect.gen(function*() {
      const course = yield* under(
        yield* onSentinel,
        ({ publisher, sentinel }) => Effect.zipRight(sentinel.cli("SENTINEL", "FAILOVER", "main"), publisher.fails(1))
      )
      assert.strictEqual(course.told, clients)
      mendedBy(course, ...course.said)
      for (const diary of course.said) assert.isAtLeast(diary.added("reconnects"), 2)
    }))

  it.scopedLive("the node of a Cluster that has their channel is killed: its replica goes on, and everybody is told", () =>
    Effect.gen(function*() {
      const course = yield* under(yield* onCluster, ({ masters }) => owner(masters, loaded).kill)
      assert.isAtLeast(course.failed, 1)
      assert.strictEqual(course.told, clients)
      noticedBy(course, ...course.said)
    }))

  it.scopedLive("another node of a Cluster is killed: they see every offset", () =>
    Effect.gen(function*() {
      const { told } = yield* under(yield* onCluster, ({ masters, publisher }) => {
        const other = masters.find((server) => server !== owner(masters, loaded))
        return other === undefined
          ? assert.fail("no other node")
          : Effect.zipRight(other.kill, publisher.fails(1))
      })
      assert.strictEqual(told, 0)
    }))
})
