/** What is listened to on one server of a Cluster, while the slot of a name goes and comes back. */
import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Either } from "effect"
import { RedisHearing } from "../../src/redis/RedisHearing.js"
import * as RedisOptions from "../../src/redis/RedisOptions.js"
import { ownerSlot, slotOf } from "../../src/redis/RedisSlots.js"
import { until } from "./support/Nodes.js"
import { makeRedisCluster } from "./support/RedisCluster.js"
import { isRedisInstalled } from "./support/RedisServer.js"

const name = "hub:{a}"
const slot = `${ownerSlot("a")}`

class Refused extends Data.TaggedError("Refused")<{ readonly cause: unknown }> {}

const stage = Effect.gen(function*() {
  const [server] = yield* makeRedisCluster({ masters: 1 })
  if (server === undefined) return yield* Effect.dieMessage("no server")
  const config = Either.getOrThrow(RedisOptions.make({ url: server.url }))
  if (config.servers._tag !== "Shards") return yield* Effect.dieMessage("one server")
  const [found] = config.servers.servers
  if (found === undefined) return yield* Effect.dieMessage("one server")
  const heard: Array<string> = []
  let moves = 0
  const hearing = new RedisHearing(config, Effect.succeed(found), {
    onMessage: (_, message) => heard.push(message),
    onGap: () => heard.push("gap")
  }, { slotOf, onReady: () => {}, onMoved: () => moves++ })
  yield* Effect.addFinalizer(() => Effect.sync(() => hearing.close()))
  yield* hearing.link.forkKeep
  yield* until(Effect.sync(() => hearing.link.isReady))
  const subscribe = Effect.async<void, Refused>((resume) =>
    hearing.subscribe("a", name, (cause) => resume(cause === undefined ? Effect.void : new Refused({ cause })))
  )
  /** The slot goes, which the hearing is told, and is back. */
  const move = Effect.gen(function*() {
    const before = moves
    yield* server.cli("CLUSTER", "DELSLOTS", slot)
    yield* until(Effect.sync(() => moves > before))
    yield* server.cli("CLUSTER", "ADDSLOTS", slot)
    yield* until(Effect.map(server.cli("CLUSTER", "INFO"), (info) => info.includes("cluster_state:ok")))
  })
  /** Of what is published now, what is heard. */
  const hears = (...expected: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      // Who was told before it was subscribed again is not told once more.
      yield* until(Effect.sync(() => heard.length >= expected.length))
      yield* server.cli("SPUBLISH", name, "1")
      yield* until(Effect.sync(() => heard.includes("1")))
      assert.deepStrictEqual(heard.splice(0), [...expected, "1"])
    })
  return { server, hearing, subscribe, move, hears }
})

describe.skipIf(!isRedisInstalled)("what is listened to", () => {
  it.scopedLive("is told of a gap when its slot is back", () =>
    Effect.gen(function*() {
      const { hearing, hears, move, subscribe } = yield* stage
      yield* subscribe
      yield* hears()
      yield* move
      hearing.rejoin()
      yield* subscribe
      yield* hears("gap")
    }))

  it.scopedLive("is left and wanted again while it is subscribed again: whoever wants it is told", () =>
    Effect.gen(function*() {
      const { hearing, hears, move, subscribe } = yield* stage
      yield* subscribe
      yield* move
      hearing.rejoin()
      hearing.unsubscribe(name)
      yield* subscribe
      yield* hears()
    }))

  it.scopedLive("was left before its slot went, and is wanted again when it is back", () =>
    Effect.gen(function*() {
      const { hearing, hears, move, subscribe } = yield* stage
      yield* subscribe
      hearing.unsubscribe(name)
      yield* move
      yield* subscribe
      yield* hears()
    }))

  it.scopedLive("waits on a connection that is lost: it fails", () =>
    Effect.gen(function*() {
      const { server, subscribe } = yield* stage
      yield* server.signal("SIGSTOP")
      const waiting = yield* Effect.fork(Effect.flip(subscribe))
      yield* Effect.sleep(50)
      yield* server.kill
      yield* waiting
    }))
})
