import { assert, describe, layer, type Vitest } from "@effect/vitest"
import { PresenceLaws } from "effect-ws-hub/testing"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createClient } from "redis"
import { Presence } from "../../src/channels/Presence.js"
import type { ClientInfo } from "../../src/channels/Publication.js"
import * as PresenceRedis from "../../src/redis/PresenceRedis.js"
import * as RedisConnection from "../../src/redis/RedisConnection.js"
import type { RedisOptions } from "../../src/redis/RedisOptions.js"
import { eventuallyEffect } from "../node/support.js"
import { makeRedisCluster } from "./support/RedisCluster.js"
import { makeRedisSentinel } from "./support/RedisSentinel.js"
import { anyRedisServer, isRedisInstalled, isRedisThere, makeRedisServer } from "./support/RedisServer.js"

/** Random runs at the same time: each mostly waits. */
const lanes = 10
const runs = process.env["TEST_LONG"] === undefined ? 4 : 40

/** Where presence is kept. */
class Redis extends Context.Tag("test/Redis")<Redis, RedisOptions & { readonly url?: string }>() {}

const stages = {
  "one server": anyRedisServer,
  "a server of its own": Effect.map(makeRedisServer(), ({ url }) => ({ url })),
  "three servers": Effect.map(Effect.replicateEffect(makeRedisServer(), 3), (servers) => ({
    urls: servers.map(({ url }) => url)
  })),
  "a Cluster of three": Effect.map(makeRedisCluster(), (servers) => ({ cluster: servers.map(({ url }) => url) })),
  "a master with a Sentinel": Effect.map(makeRedisSentinel, ({ sentinel }) => ({
    sentinel: { name: "main", urls: [sentinel.url] }
  }))
}

/** Another node. */
const node = Effect.gen(function*() {
  const connection = yield* Layer.build(RedisConnection.layer(yield* Redis))
  yield* Context.get(connection, RedisConnection.RedisConnection).connected
  return Context.get(yield* Effect.provide(Layer.build(PresenceRedis.layer), connection), Presence)
})

/** Asks Redis as it is. */
const raw = Effect.flatMap(Redis, ({ url }) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => createClient({ url: url ?? "", RESP: 2 }).connect()),
      (client) => Effect.promise(() => client.close())
    ),
    (client) => (...command: ReadonlyArray<string>) => Effect.promise(() => client.sendCommand<unknown>([...command]))
  ))

/** Ends all leases but one, as time would. */
const lapse = `
for _, client in ipairs(redis.call("ZRANGE", KEYS[1], 0, -1)) do
  if client ~= ARGV[1] then redis.call("ZADD", KEYS[1], 1, client) end
end`

const info = (client: string, user: string, more?: Partial<ClientInfo>): ClientInfo => ({ client, user, ...more })

let names = 0
const fresh = (): string => `channel ${++names}`

const long = 600_000

type It = Vitest.MethodsNonLive<Redis, true>

const anywhere = (it: It) => {
  for (const { check, name } of PresenceLaws.laws({ wait: Effect.sleep, tick: 100, numRuns: runs })) {
    const isRandom = !/^\d/.test(name)
    it.scoped(
      name,
      () =>
        Effect.flatMap(node, (presence) =>
          Effect.all(Array.from({ length: isRandom ? lanes : 1 }, () => check), {
            concurrency: "unbounded",
            discard: true
          }).pipe(Effect.provideService(Presence, presence)))
    )
  }

  it.scoped("nodes see each other's clients, and take what another left behind", () =>
    Effect.gen(function*() {
      const [one, other] = yield* Effect.all([node, node])
      const channel = fresh()
      yield* one.add(channel, info("1", "ada", { connInfo: { a: [1] } }), long)
      yield* other.add(channel, info("2", "ada"), long)
      assert.deepStrictEqual(Object.fromEntries(yield* other.get(channel)), {
        1: info("1", "ada", { connInfo: { a: [1] } }),
        2: info("2", "ada")
      })
      assert.deepStrictEqual(yield* one.stats(channel), { clients: 2, users: 1 })
      yield* other.remove(channel, info("1", "ada"))
      assert.deepStrictEqual(yield* one.stats(channel), { clients: 1, users: 1 })
    }))

  it.scoped("any name of a channel, a client or a user is kept apart from all others", () =>
    Effect.gen(function*() {
      const presence = yield* node
      const odd = [
        "",
        "}",
        "{",
        "{}",
        "a}b",
        "a%7Db",
        "a%b",
        "a\nb",
        "\n",
        "\"",
        "__proto__",
        "é\u{1f600}",
        "a:users",
        "a"
      ]
      yield* Effect.forEach(odd, (name) =>
        Effect.forEach(odd, (user, at) => presence.add(`odd ${name}`, info(`${name} ${at}`, user), long)))
      for (const name of odd) {
        const there = yield* presence.get(`odd ${name}`)
        assert.deepStrictEqual(
          [...there.values()].map(({ user }) =>
            user
          ).sort(),
          [...odd].sort()
        )
        assert.deepStrictEqual([...there.keys()].sort(), odd.map((_, at) => `${name} ${at}`).sort())
        assert.deepStrictEqual(yield* presence.stats(`odd ${name}`), { clients: odd.length, users: odd.length })
      }
      // Not text that UTF-8 can carry: as JSON it can.
      const halves = fresh()
      yield* presence.add(halves, info("1", "\ud800", { connInfo: "\udfff\u0000" }), long)
      yield* presence.add(halves, info("2", "\ud801"), long)
      assert.deepStrictEqual([...(yield* presence.get(halves)).values()], [
        info("1", "\ud800", { connInfo: "\udfff\u0000" }),
        info("2", "\ud801")
      ])
      assert.deepStrictEqual(yield* presence.stats(halves), { clients: 2, users: 2 })
    }))
}

const inDetail = (it: It) => {
  it.scoped("counts are exact while many come, change and go on two nodes at once", () =>
    Effect.gen(function*() {
      const nodes = yield* Effect.all([node, node])
      const channel = fresh()
      const left = yield* Effect.forEach(
        Array.from({ length: 200 }, (_, at) => at),
        (at) =>
          Effect.gen(function*() {
            const presence = nodes[at % 2] ?? nodes[0]
            const client = `client ${at}`
            const users = Array.from({ length: 5 }, (_, turn) => `user ${(at * 7 + turn * 3) % 40}`)
            for (const user of users) yield* presence.add(channel, info(client, user), long)
            if (at % 3 > 0) return [users[4]]
            yield* presence.remove(channel, info(client, ""))
            return []
          }),
        { concurrency: "unbounded" }
      )
      const users = left.flat()
      const expected = { clients: users.length, users: new Set(users).size }
      assert.deepStrictEqual(yield* nodes[0].stats(channel), expected)
      const there = yield* nodes[1].get(channel)
      assert.deepStrictEqual([...there.values()].map(({ user }) => user).sort(), users.sort())
    }))

  it.scoped("many leases that end together are never counted or listed again, and leave nothing", () =>
    Effect.gen(function*() {
      const presence = yield* node
      const ask = yield* raw
      const [counted, listed, renewed] = [fresh(), fresh(), fresh()]
      const channels = [counted, listed, renewed]
      const clients = Array.from({ length: 3500 }, (_, at) => info(`client ${at}`, `user ${at % 50}`))
      for (const channel of channels) {
        yield* presence.add(channel, info("stays", "ada"), long)
        yield* Effect.forEach(clients, (client) => presence.add(channel, client, long), { concurrency: "unbounded" })
      }
      assert.deepStrictEqual(yield* presence.stats(counted), { clients: 3501, users: 51 })
      for (const channel of channels) yield* ask("EVAL", lapse, "1", `hub:{${channel}}:leases`, "stays")
      assert.deepStrictEqual(yield* presence.stats(counted), { clients: 1, users: 1 })
      assert.deepStrictEqual([...(yield* presence.get(listed)).keys()], ["stays"])
      // Who comes cleans up as well, and so many at most that nobody else waits.
      const size = Effect.map(ask("ZCARD", `hub:{${renewed}}:leases`), Number)
      assert.strictEqual(yield* size, 3501)
      yield* presence.add(renewed, info("stays", "ada"), long)
      assert.strictEqual(yield* size, 3401)
      yield* presence.remove(renewed, info("nobody", ""))
      assert.strictEqual(yield* size, 3301)
      assert.strictEqual(yield* ask("HLEN", `hub:{${renewed}}:presence`), 3301)
      for (const channel of channels) yield* presence.remove(channel, info("stays", ""))
      for (const channel of channels) assert.deepStrictEqual(yield* presence.stats(channel), { clients: 0, users: 0 })
      for (const channel of channels) assert.deepStrictEqual(yield* ask("KEYS", `hub:{${channel}}:*`), [])
    }))

  it.scoped("all keys of a channel end with its last lease, though nobody looks", () =>
    Effect.gen(function*() {
      const presence = yield* node
      const ask = yield* raw
      const channel = fresh()
      const ends = Effect.forEach(["presence", "leases", "users"], (kind) =>
        Effect.map(ask("PEXPIRETIME", `hub:{${channel}}:${kind}`), Number))
      const now = Effect.map(ask("TIME"), (time) => {
        const [seconds = 0, micros = 0]: ReadonlyArray<number> = Array.isArray(time) ? time.map(Number) : []
        return seconds * 1000 + Math.floor(micros / 1000)
      })
      const before = yield* now
      yield* presence.add(channel, info("1", "ada"), 60_000)
      // A shorter one takes nothing away.
      yield* presence.add(channel, info("2", "bob"), 500)
      const [first = 0, ...others] = yield* ends
      assert.deepStrictEqual(others, [first, first])
      assert.isAtLeast(first, before + 60_000)
      assert.isAtMost(first, (yield* now) + 60_000)
      yield* presence.remove(channel, info("1", "ada"))
      assert.deepStrictEqual(
        yield* ask("KEYS", `hub:{${channel}}:*`).pipe(Effect.map((keys) =>
          [keys].flat().length
        )),
        3
      )
      const short = fresh()
      yield* presence.add(short, info("1", "ada"), 50)
      yield* eventuallyEffect(
        Effect.map(
          ask("EXISTS", ...["presence", "leases", "users"].map((kind) => `hub:{${short}}:${kind}`)),
          (n) => n === 0
        )
      )
    }))

  it.scoped("a server whose memory is full lets nobody in, and knows who is there, and who is not any more", () =>
    Effect.gen(function*() {
      const presence = yield* node
      const ask = yield* raw
      const channel = fresh()
      const [ada, bob, eve] = [info("1", "ada"), info("2", "bob"), info("3", "eve")]
      for (const client of [ada, bob, eve]) yield* presence.add(channel, client, long)
      yield* ask("CONFIG", "SET", "maxmemory", "1")
      yield* Effect.gen(function*() {
        assert.match((yield* Effect.flip(presence.add(channel, info("4", "joe"), long))).message, /OOM/)
        const ends = Effect.map(ask("ZSCORE", `hub:{${channel}}:leases`, "1"), Number)
        const before = yield* ends
        yield* presence.add(channel, ada, 2 * long)
        assert.isAtLeast(yield* ends, before + long)
        yield* presence.remove(channel, bob)
        assert.deepStrictEqual(yield* presence.stats(channel), { clients: 2, users: 2 })
        // Takes away first, since nothing else may be written.
        yield* ask(
          "EVAL",
          `redis.call("ZREM", KEYS[1], ARGV[1]) redis.call("ZADD", KEYS[1], 1, ARGV[1])`,
          "1",
          `hub:{${channel}}:leases`,
          "3"
        )
        assert.deepStrictEqual([...(yield* presence.get(channel)).keys()], ["1"])
        assert.deepStrictEqual(yield* presence.stats(channel), { clients: 1, users: 1 })
      }).pipe(Effect.ensuring(ask("CONFIG", "SET", "maxmemory", "0")))
    }))

  it.scoped("counting reads no entry, and renewing writes none", () =>
    Effect.gen(function*() {
      const presence = yield* node
      const ask = yield* raw
      const channel = fresh()
      const ada = info("1", "ada", { connInfo: { name: "Ada" } })
      yield* presence.add(channel, ada, long)
      yield* ask("CONFIG", "RESETSTAT")
      yield* presence.stats(channel)
      yield* presence.add(channel, ada, long)
      const used = String(yield* ask("INFO", "commandstats"))
      const commands = [...used.matchAll(/cmdstat_(\w+):calls=(\d+)/g)].flatMap(([, name]) => name ?? [])
      assert.includeMembers(commands, ["zcard", "hlen", "zadd", "hget"])
      assert.notIncludeMembers(commands, ["hgetall", "hmget", "hvals", "hkeys", "hset", "hincrby"])
      yield* presence.get(channel)
    }))
}

for (const [name, stage] of Object.entries(stages)) {
  const options = { excludeTestServices: true, timeout: "1 minute" } as const
  describe.runIf(stage === stages["one server"] ? isRedisThere : isRedisInstalled)(
    `presence on Redis, on ${name}`,
    () => {
      layer(Layer.scoped(Redis, stage), options)((it) => {
        if (stage === stages["a server of its own"]) inDetail(it)
        else anywhere(it)
      })
    }
  )
}
