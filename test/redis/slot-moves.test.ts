/** Commands while a slot of a Cluster moves. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import type { StreamOptions } from "../../src/channels/Broker.js"
import type { StreamPosition } from "../../src/channels/Publication.js"
import type { RedisOptions } from "../../src/redis/RedisOptions.js"
import { ownerSlot } from "../../src/redis/RedisSlots.js"
import { makeNode, until } from "./support/Nodes.js"
import { makeRedisCluster, type RedisClusterOptions } from "./support/RedisCluster.js"
import { isRedisInstalled, type RedisServer } from "./support/RedisServer.js"

const stream: StreamOptions = { size: 1000, ttl: 60_000, metaTtl: 600_000 }

const slot = `${ownerSlot("a")}`

/** The slot of the channel `a`, at its first owner, and whoever it may move to: the last of the servers. */
const stage = (cluster: RedisClusterOptions, options: RedisOptions = {}) =>
  Effect.gen(function*() {
    const servers = yield* makeRedisCluster(cluster)
    const at = Math.floor(ownerSlot("a") * 3 / 16384)
    const [from, to] = [servers[at], servers[at === servers.length - 1 ? 0 : servers.length - 1]]
    if (from === undefined || to === undefined) return yield* Effect.dieMessage("no servers")
    const node = yield* makeNode({
      cluster: servers.slice(0, 3).map(({ url }) => url),
      retryInterval: 100,
      commandTimeout: 3000,
      pingInterval: 60_000,
      ...options
    })
    yield* node.redis.connected
    /** Says that it is moving, and nothing more. */
    const begin = (from: RedisServer, to: RedisServer) =>
      Effect.gen(function*() {
        yield* to.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", yield* from.cli("CLUSTER", "MYID"))
        yield* from.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", yield* to.cli("CLUSTER", "MYID"))
      })
    const migrate = (from: RedisServer, to: RedisServer) =>
      Effect.gen(function*() {
        const keys = (yield* from.cli("CLUSTER", "GETKEYSINSLOT", slot, "100")).split("\n")
        yield* from.cli("MIGRATE", "127.0.0.1", `${to.port}`, "", "0", "5000", "KEYS", ...keys)
      })
    const end = (to: RedisServer) =>
      Effect.gen(function*() {
        const id = yield* to.cli("CLUSTER", "MYID")
        for (const server of [to, ...servers.filter((other) => other !== to)]) {
          yield* server.cli("CLUSTER", "SETSLOT", slot, "NODE", id)
        }
      })
    return { ...node, servers, from, to, begin, migrate, end }
  })

describe.skipIf(!isRedisInstalled)("while a slot moves", () => {
  it.scopedLive("what one node publishes in a channel stays in its order", () =>
    Effect.gen(function*() {
      const { begin, broker, end, from, migrate, to } = yield* stage({})
      const unsafePublish = broker.unsafePublish ?? assert.fail("it publishes without waiting")
      const made: Array<Exit.Exit<StreamPosition | undefined, unknown> | undefined> = []
      const publishing = yield* Effect.forkScoped(Effect.forever(Effect.zipRight(
        Effect.sync(() => {
          const at = made.push(undefined) - 1
          unsafePublish("a", { data: `${at}`, stream }, (exit) => made[at] = exit)
        }),
        Effect.sleep(1)
      )))
      const some = Effect.suspend(() => {
        const goal = made.length + 30
        return until(Effect.sync(() => made.length > goal && made[goal] !== undefined))
      })
      for (let round = 0; round < 3; round++) {
        for (const [one, other] of [[from, to], [to, from]] as const) {
          yield* some
          yield* begin(one, other)
          yield* some
          yield* migrate(one, other)
          yield* some
          yield* end(other)
        }
      }
      yield* some
      yield* Fiber.interrupt(publishing)
      yield* until(Effect.sync(() => !made.includes(undefined)))
      const positions = made.map((exit) => exit !== undefined && Exit.isSuccess(exit) ? exit.value : undefined)
      assert.notInclude(positions, undefined, "nothing fails")
      const epochs: Array<string> = []
      let offset = 0
      for (const position of positions) {
        if (position === undefined) continue
        if (position.epoch !== epochs.at(-1)) {
          assert.notInclude(epochs, position.epoch)
          epochs.push(position.epoch)
          offset = 0
        }
        assert.strictEqual(position.offset, ++offset)
      }
      assert.isAtLeast(epochs.length, 6)
    }), 60_000)

  it.scopedLive("it may be on its way to a node that had none", () =>
    Effect.gen(function*() {
      const { begin, broker, end, from, migrate, redis, to } = yield* stage({ spares: 1 })
      assert.strictEqual((yield* broker.publish("a", { data: "1", stream }))?.offset, 1)
      yield* begin(from, to)
      yield* migrate(from, to)
      const asked = yield* broker.publish("a", { data: "2", stream })
      // Longer than it takes to look who has slots.
      yield* Effect.sleep(300)
      assert.deepStrictEqual(yield* broker.publish("a", { data: "3", stream }), { epoch: asked?.epoch, offset: 2 })
      yield* end(to)
      assert.deepStrictEqual(yield* broker.publish("a", { data: "4", stream }), { epoch: asked?.epoch, offset: 3 })
      yield* until(redis.isConnected)
    }))

  it.scopedLive("what waits is bounded, in number and in time", () =>
    Effect.gen(function*() {
      const { begin, broker, from, to } = yield* stage({}, { maxPending: 5, commandTimeout: 5000 })
      yield* broker.publish("a", { data: "1", stream })
      yield* begin(from, to)
      // The keys of the channel are here, and that of the publication is not.
      const first = yield* Effect.fork(Effect.flip(broker.publish("a", { data: "2", stream, idempotencyKey: "k" })))
      yield* Effect.sleep(200)
      const before = performance.now()
      const others = yield* Effect.forEach([1, 2, 3, 4, 5, 6], (n) =>
        Effect.either(broker.publishJoin("a", { user: `${n}`, client: "c" })), { concurrency: "unbounded" })
      assert.isAtMost(performance.now() - before, 9500)
      assert.match((yield* first).message, /TRYAGAIN/)
      const refused = others.map((result) =>
        result._tag === "Left" && /too slow/.test(result.left.message)
      )
      // The first waits, too, unless it was just being tried again.
      assert.deepStrictEqual([...refused.slice(0, 4), refused[5]], [false, false, false, false, true])
    }))

  it.scopedLive("what is left while it waits is not subscribed afterwards", () =>
    Effect.gen(function*() {
      const { broker, end, from, redis, servers, to } = yield* stage({})
      const subscribed = yield* Deferred.make<void>()
      // Nobody but the owner knows yet, so that the node is sent there, and back.
      yield* from.cli("CLUSTER", "SETSLOT", slot, "NODE", yield* to.cli("CLUSTER", "MYID"))
      const fiber = yield* Effect.fork(Effect.zipRight(broker.subscribe("a"), Deferred.succeed(subscribed, undefined)))
      yield* Effect.sleep(30)
      yield* Fiber.interrupt(fiber)
      assert.isFalse(yield* Deferred.isDone(subscribed))
      yield* end(to)
      yield* Effect.sleep(500)
      for (const server of servers) {
        assert.match(yield* server.cli("PUBSUB", "SHARDNUMSUB", redis.key("a")), /\n0$/)
      }
    }))
})
