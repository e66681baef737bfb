/** A user who may do what docs/scaling.md says, and nothing else: it is enough, and none of it is too much. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { BrokerLaws, PresenceLaws } from "effect-ws-hub/testing"
import { readFileSync } from "node:fs"
import { Broker } from "../../src/channels/Broker.js"
import { Cluster } from "../../src/channels/Cluster.js"
import { Presence } from "../../src/channels/Presence.js"
import * as Redis from "../../src/redis/Redis.js"
import { RedisConnection } from "../../src/redis/RedisConnection.js"
import { makeNode, persist, until } from "./support/Nodes.js"
import { makeRedisCluster } from "./support/RedisCluster.js"
import { makeRedisSentinel } from "./support/RedisSentinel.js"
import { isRedisInstalled, makeRedisServer, type RedisServer } from "./support/RedisServer.js"

const docs = readFileSync(new URL("../../docs/scaling.md", import.meta.url), "utf8")

/** The rules that the document has for a user: lines that begin with this name, or go on below it. */
const rulesOf = (user: string): ReadonlyArray<string> => {
  const found = new RegExp(`^    user ${user} ((?:.*\\n)(?:      .*\\n)*)`, "m").exec(docs)?.[1]
  return found === undefined ? assert.fail(`docs/scaling.md has no user ${user}`) : found.trim().split(/\s+/)
}

const commandsOf = (rules: ReadonlyArray<string>): ReadonlyArray<string> =>
  rules.filter((rule) => rule.startsWith("+")).map((rule) => rule.slice(1)).sort()

const admit = (server: RedisServer, ...rules: ReadonlyArray<string>) =>
  Effect.map(server.cli("ACL", "SETUSER", ...rules), (reply) => assert.strictEqual(reply, "OK"))

/** The address, for this user. */
const as = (user: string, { port }: RedisServer): string => `redis://${user}:secret@127.0.0.1:${port}`

/** Which commands were used, by their names in rules. */
const used = (server: RedisServer) =>
  Effect.map(
    server.cli("INFO", "commandstats"),
    (text) => Array.from(text.matchAll(/^cmdstat_([^:]+):/gm), ([, name = ""]) => name)
  )

/** What was refused. Clients ask for some things only if they may. */
const refused = (server: RedisServer) =>
  Effect.map(
    server.cli("ACL", "LOG"),
    (text) => text.split("\n").filter((line, at, all) => all[at - 1] === "object" && !line.startsWith("client|"))
  )

describe.skipIf(!isRedisInstalled)("a user of Redis with no more rights than the document names", () => {
  it.scopedLive("can do all that a hub does, on one server", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const rules = rulesOf("hub")
      yield* admit(server, "hub", ...rules)
      yield* server.cli("CONFIG", "RESETSTAT")
      const context = yield* Layer.build(Redis.layer({ url: as("hub", server), linger: 0 }))
      yield* Context.get(context, RedisConnection).connected
      for (const { check } of BrokerLaws.laws({ wait: Effect.sleep, tick: 200, numRuns: 2 })) {
        yield* Effect.scoped(Effect.provideService(check, Broker, Context.get(context, Broker)))
      }
      for (const { check } of PresenceLaws.laws({ wait: Effect.sleep, tick: 200, numRuns: 2 })) {
        yield* Effect.scoped(Effect.provideService(check, Presence, Context.get(context, Presence)))
      }
      yield* Effect.scoped(Effect.gen(function*() {
        const ask = yield* Context.get(context, Cluster).join({ uid: "one", answer: Effect.succeed })
        yield* persist(ask("who is there?"))
      }))
      yield* server.cli("SCRIPT", "FLUSH")
      const stream = { size: 1, ttl: 60_000, metaTtl: 60_000 }
      yield* Context.get(context, Broker).publish("a", { data: "1", stream })
      assert.deepStrictEqual(yield* refused(server), [])
      const names = yield* used(server)
      assert.deepStrictEqual(commandsOf(rules).filter((command) => !names.includes(command)), [], "nobody needs it")
    }))

  it.scopedLive("can do so in a Cluster, with what that needs besides", () =>
    Effect.gen(function*() {
      const servers = yield* makeRedisCluster()
      for (const server of servers) {
        yield* admit(server, "hub", ...rulesOf("hub"))
        yield* admit(server, "hub", ...rulesOf("hub-in-a-cluster"))
        yield* server.cli("CONFIG", "RESETSTAT")
      }
      const context = yield* Layer.build(
        Redis.layer({ cluster: servers.map((server) => as("hub", server)), linger: 0 })
      )
      yield* Context.get(context, RedisConnection).connected
      for (const { check } of BrokerLaws.laws({ wait: Effect.sleep, tick: 200, numRuns: 1 })) {
        yield* Effect.scoped(Effect.provideService(check, Broker, Context.get(context, Broker)))
      }
      const names = new Set<string>()
      for (const server of servers) {
        assert.deepStrictEqual(yield* refused(server), [])
        for (const name of yield* used(server)) names.add(name)
      }
      // No slot moves here: whoever follows one asks for it.
      const needed = commandsOf(rulesOf("hub-in-a-cluster")).filter((command) => command !== "asking")
      assert.deepStrictEqual(needed.filter((command) => !names.has(command)), [], "nobody needs it")
      for (const server of servers) assert.strictEqual(yield* server.cli("ACL", "DRYRUN", "hub", "ASKING"), "OK")
    }))

  it.scopedLive("finds a master by a Sentinel that wants a user too", () =>
    Effect.gen(function*() {
      const { master, sentinel } = yield* makeRedisSentinel
      yield* admit(master, "hub", ...rulesOf("hub"))
      yield* admit(master, "hub", ...rulesOf("hub-by-a-sentinel"))
      yield* admit(sentinel, "watcher", ...rulesOf("watcher"))
      yield* sentinel.cli("ACL", "SETUSER", "default", "-subscribe", "-sentinel")
      const { broker, redis } = yield* makeNode({
        sentinel: { name: "main", urls: [as("watcher", sentinel)] },
        username: "hub",
        password: "secret"
      })
      yield* redis.connected
      yield* broker.publish("a", { data: "1", stream: { size: 1, ttl: 60_000, metaTtl: 60_000 } })
      assert.deepStrictEqual([yield* refused(master), yield* refused(sentinel)], [[], []])
      yield* until(Effect.map(sentinel.cli("CLIENT", "LIST"), (text) => /sub=1 .*user=watcher/.test(text)))
    }))
})
