/** Nodes that ask each other through a real Redis: hubs of their own, clients of the official SDK. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { type Ask, Cluster } from "../../src/channels/Cluster.js"
import { encodeRefusal } from "../../src/channels/Control.js"
import * as ClusterRedis from "../../src/redis/ClusterRedis.js"
import * as Redis from "../../src/redis/Redis.js"
import * as RedisConnection from "../../src/redis/RedisConnection.js"
import { hashOf, heaviest } from "../../src/redis/RedisShards.js"
import { online, sdk, serve, type Server, user } from "../channels/support.js"
import { eventuallyEffect } from "../node/support.js"
import { isRedisInstalled, makeRedisServer } from "./support/RedisServer.js"

/** Where nodes are registered, and asked. */
const registryName = "\u0000:nodes"

/** Longer than an answer takes on a busy machine. */
const timeout = 500

const nodes = { timeout, lease: 900 }

/** A node that says who it is, on a connection of its own. */
const member = (url: string, uid: string, answer = (request: string) => `${uid} heard ${request}`, times = nodes) =>
  Effect.gen(function*() {
    const connection = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
    const redis = yield* Scope.extend(RedisConnection.make({ url, retryInterval: 50 }), connection)
    const cluster = yield* Effect.provideService(ClusterRedis.make(times), RedisConnection.RedisConnection, redis)
    const ask = yield* cluster.join({ uid, answer: (request) => Effect.sync(() => answer(request)) })
    return { ask, redis, kill: Scope.close(connection, Exit.void) }
  })

/** A command on the registry, whose key cannot be an argument of `redis-cli`. */
const registry = (redis: RedisConnection.RedisConnection["Type"], command: string, ...args: ReadonlyArray<string>) =>
  redis.run(
    { name: command, lua: `return redis.call('${command}', KEYS[1], unpack(ARGV))`, decode: Number },
    registryName,
    [redis.key(registryName, "nodes")],
    args
  )

/** Who answers, and who does not. */
const roll = (ask: Ask) =>
  Effect.map(ask("roll"), ({ answers, missing }) => ({ there: answers.map(({ node }) => node).sort(), missing }))

/** Waits until these are known, and answer. */
const known = (ask: Ask, ...uids: ReadonlyArray<string>) =>
  eventuallyEffect(
    Effect.match(roll(ask), {
      onFailure: () => false,
      onSuccess: ({ missing, there }) => missing.length === 0 && there.join() === uids.join()
    })
  )

describe.skipIf(!isRedisInstalled)("the cluster on Redis", () => {
  it.scopedLive("asks all others, and each answers once", () =>
    Effect.gen(function*() {
      const { url } = yield* makeRedisServer()
      const one = yield* member(url, "one")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(one.ask("too early"))))
      yield* known(one.ask)
      yield* member(url, "other")
      yield* member(url, "third")
      yield* known(one.ask, "other", "third")
      const { answers, missing } = yield* one.ask("\u{1F600}")
      assert.deepStrictEqual(missing, [])
      assert.sameDeepMembers([...answers], [
        { node: "other", answer: "other heard \u{1F600}" },
        { node: "third", answer: "third heard \u{1F600}" }
      ])
      const first = yield* one.ask("enough", (answer) => answer === "other heard enough")
      assert.deepStrictEqual(first.missing, [])
    }))

  it.scopedLive("two nodes of one process ask each other, and not themselves", () =>
    Effect.gen(function*() {
      const { url } = yield* makeRedisServer()
      const context = yield* Layer.build(Redis.layer({ url, nodes }))
      const { join } = Context.get(context, Cluster)
      const one = yield* join({ uid: "one", answer: () => Effect.succeed("1") })
      const two = yield* join({ uid: "two", answer: () => Effect.succeed("2") })
      yield* known(one, "two")
      yield* known(two, "one")
    }))

  it.scopedLive("a node that leaves is forgotten at once; one that died is missing, until its lease is over", () =>
    Effect.gen(function*() {
      const { url } = yield* makeRedisServer()
      const one = yield* member(url, "one")
      const dying = yield* member(url, "dying")
      const leaving = yield* Scope.make()
      yield* Scope.extend(member(url, "leaving"), leaving)
      yield* known(one.ask, "dying", "leaving")
      yield* Scope.close(leaving, Exit.void)
      assert.deepStrictEqual(yield* roll(one.ask), { there: ["dying"], missing: [] })
      const started = performance.now()
      yield* dying.kill
      assert.deepStrictEqual(yield* roll(one.ask), { there: [], missing: ["dying"] })
      assert.isAtLeast(performance.now() - started, timeout)
      yield* known(one.ask)
      assert.strictEqual(yield* registry(one.redis, "ZCARD"), 1)
    }))

  it.scopedLive("what Redis lost is not taken for gone", () =>
    Effect.gen(function*() {
      const { cli, url } = yield* makeRedisServer()
      const one = yield* member(url, "one")
      yield* member(url, "other")
      yield* known(one.ask, "other")
      for (let n = 0; n < 5; n++) {
        yield* cli("FLUSHALL")
        assert.deepStrictEqual(yield* roll(one.ask), { there: ["other"], missing: [] })
      }
    }))

  it.scopedLive("what is over is removed some at a time, and nothing is left when all are gone", () =>
    Effect.gen(function*() {
      const { cli, url } = yield* makeRedisServer()
      yield* Effect.scoped(Effect.gen(function*() {
        const one = yield* member(url, "one")
        yield* known(one.ask)
        const dead = Array.from({ length: 250 }, (_, n) => ["1", `dead ${n}`]).flat()
        yield* registry(one.redis, "ZADD", ...dead)
        assert.deepStrictEqual(yield* roll(one.ask), { there: [], missing: [] })
        assert.isAbove(yield* registry(one.redis, "ZCARD"), 1)
        yield* roll(one.ask)
        yield* roll(one.ask)
        assert.strictEqual(yield* registry(one.redis, "ZCARD"), 1)
        yield* one.kill
      }))
      yield* eventuallyEffect(Effect.map(cli("DBSIZE"), (size) => size === "0"))
    }))

  it.scopedLive("an answer may be long", () =>
    Effect.gen(function*() {
      const { url } = yield* makeRedisServer()
      const patient = { ...nodes, timeout: 20_000 }
      const one = yield* member(url, "one", undefined, patient)
      // Parts end within a character.
      const long = `x${"\u{1F600}".repeat(1_000_000)}`
      yield* member(url, "other", (request) => request === "roll" ? "" : long, patient)
      yield* known(one.ask, "other")
      const { answers } = yield* one.ask("tell me all")
      assert.isTrue(answers[0]?.answer === long)
    }))

  it.scopedLive("an answer may not be so long that Redis would cut off who asked", () =>
    Effect.gen(function*() {
      const { url } = yield* makeRedisServer()
      const patient = { ...nodes, timeout: 20_000 }
      const one = yield* member(url, "one", undefined, patient)
      yield* member(url, "other", (request) => "x".repeat(Number(request)), patient)
      yield* eventuallyEffect(
        Effect.match(one.ask("0"), { onFailure: () => false, onSuccess: ({ answers }) => answers.length === 1 })
      )
      const most = 4 * 1024 * 1024
      const whole = yield* one.ask(`${most}`)
      assert.strictEqual(whole.answers[0]?.answer.length, most)
      const refused = yield* one.ask(`${most + 1}`)
      assert.deepStrictEqual(refused.answers, [
        { node: "other", answer: encodeRefusal(`its answer has ${most + 1} characters, and at most ${most} are sent`) }
      ])
    }))

  it.scopedLive("what is no message of this version is let pass", () =>
    Effect.gen(function*() {
      const { url } = yield* makeRedisServer()
      const one = yield* member(url, "one")
      yield* member(url, "other")
      yield* known(one.ask, "other")
      for (const text of ["", "x", "null", "{}", "[]", "[1,2,3,4]", "[\"1\",\"inbox\"]"]) {
        yield* one.redis.publish(registryName, text)
      }
      yield* known(one.ask, "other")
    }))

  it.scopedLive("while Redis is away it fails; when it is back with nothing in it, all are found again", () =>
    Effect.gen(function*() {
      const { kill, start, url } = yield* makeRedisServer()
      const [one, other] = [yield* member(url, "one"), yield* member(url, "other")]
      yield* known(one.ask, "other")
      yield* known(other.ask, "one")
      yield* kill
      assert.isTrue(Exit.isFailure(yield* Effect.exit(one.ask("anybody"))))
      yield* start
      yield* eventuallyEffect(Effect.map(Effect.exit(one.ask("anybody")), Exit.isSuccess))
      // Whoever is not back yet is missing: nobody takes the empty registry for the truth.
      const { missing, there } = yield* roll(one.ask)
      assert.deepStrictEqual([...there, ...missing], ["other"])
      yield* known(one.ask, "other")
      yield* known(other.ask, "one")
    }))

  it.scopedLive("nodes ask each other though a server that neither of them needs for that was never there", () =>
    Effect.gen(function*() {
      const servers = yield* Effect.all([makeRedisServer({ stopped: true }), makeRedisServer({ stopped: true })])
      const addresses = servers.map(({ port }) => hashOf(`127.0.0.1:${port}/0`))
      yield* servers[heaviest(registryName, addresses)]?.start ?? Effect.void
      const redis = yield* RedisConnection.make({ urls: servers.map(({ url }) => url), retryInterval: 50 })
      // Where answers are heard is on any of the two.
      const asks = yield* Effect.forEach(Array.from({ length: 20 }, (_, at) => `${at}`), (uid) =>
        Effect.flatMap(
          Effect.provideService(ClusterRedis.make(nodes), RedisConnection.RedisConnection, redis),
          ({ join }) => join({ uid, answer: () => Effect.succeed(uid) })
        ))
      yield* eventuallyEffect(
        Effect.map(
          Effect.forEach(asks, (ask) => Effect.option(ask("?")), { concurrency: "unbounded" }),
          (found) => found.some((answers) => answers._tag === "Some" && answers.value.answers.length > 0)
        )
      )
      assert.isFalse(yield* redis.isConnected)
    }))

  it.scopedLive("options that cannot be are named", () =>
    Effect.gen(function*() {
      const redis = yield* RedisConnection.make({ url: "redis://127.0.0.1:1" })
      for (const options of [{ timeout: 0 }, { lease: "2 hours" }, { timeout: NaN }] as const) {
        const error = yield* ClusterRedis.make(options).pipe(
          Effect.provideService(RedisConnection.RedisConnection, redis),
          Effect.flip
        )
        assert.strictEqual(error.key, Object.keys(options)[0])
      }
    }))
})

describe.skipIf(!isRedisInstalled)("hubs on one Redis", () => {
  const hubsWith = (options: Redis.Options, ...names: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      const servers = yield* Effect.forEach(names, (name) => serve({ name, shared: Redis.layer(options) }))
      const size = (server: Server) => Effect.map(server.channels.info, ({ nodes }) => nodes.length)
      for (const server of servers) {
        yield* eventuallyEffect(Effect.map(size(server), (found) => found === names.length))
      }
      return servers
    })

  const hubs = (url: string, ...names: ReadonlyArray<string>) => hubsWith({ url, nodes }, ...names)

  it.scopedLive("one acts on the clients of all: subscribe, send, unsubscribe, disconnect; and says what there is", () =>
    Effect.gen(function*() {
      const { url } = yield* makeRedisServer()
      const [one, other, third] = yield* hubs(url, "one", "other", "third")
      if (one === undefined || other === undefined || third === undefined) return yield* Effect.dieMessage("three")
      const clients = yield* Effect.forEach([one, other, third], (server) => user(server, "ada"))
      const all = { count: 3, missing: [] }
      assert.deepStrictEqual(yield* one.channels.subscribeUser("ada", "present:x", { data: 1 }), all)
      for (const client of clients) assert.deepInclude(yield* client.next("subscribed"), { channel: "present:x" })
      assert.strictEqual((yield* other.channels.presenceStats("present:x")).clients, 3)
      yield* third.channels.publish("present:x", "to all")
      for (const client of clients) assert.deepInclude(yield* client.next("publication"), { data: "to all" })
      assert.deepStrictEqual((yield* other.channels.channels()).channels, new Map([["present:x", { clients: 3 }]]))
      const { nodes } = yield* one.channels.info
      assert.deepStrictEqual(nodes.map(({ clients }) => clients), [1, 1, 1])
      const bob = yield* sdk(third, { claims: { user: "bob" } })
      const { client: id } = yield* bob.connect
      assert.deepStrictEqual(yield* one.channels.send(id, "hello"), { sent: true, missing: [] })
      assert.deepStrictEqual(yield* bob.next("message"), { data: "hello" })
      assert.deepStrictEqual(yield* other.channels.unsubscribe("ada", "present:x"), all)
      for (const client of clients) yield* client.next("unsubscribed")
      assert.deepStrictEqual(yield* other.channels.disconnect("ada"), all)
      for (const client of clients) assert.strictEqual((yield* client.next("disconnected")).code, 3503)
    }))

  it.scopedLive("a client that leaves the names by which nodes hear each other does not make its node deaf", () =>
    Effect.gen(function*() {
      const { cli, url } = yield* makeRedisServer()
      // What a node does not hear any more it would hear again only after a third of this.
      const [one, other] = yield* hubsWith({ url, nodes: { timeout, lease: "10 minutes" } }, "one", "other")
      if (one === undefined || other === undefined) return yield* Effect.dieMessage("two")
      const ada = yield* user(one, "ada")
      const heard = (yield* cli("PUBSUB", "CHANNELS")).split("\n").map((name) => name.slice("hub:{".length, -1))
      assert.lengthOf(heard, 3, "one for requests, and two for answers")
      const eve = yield* online(one)
      for (const [at, channel] of heard.entries()) {
        yield* eve.ask({ id: 2 * at + 2, subscribe: { channel } }, { id: 2 * at + 3, unsubscribe: { channel } })
      }
      assert.deepStrictEqual(yield* other.channels.disconnect("ada"), { count: 1, missing: [] })
      yield* ada.next("disconnected")
      assert.deepStrictEqual((yield* one.channels.info).missing, [])
    }))

  it.scopedLive("while Redis is away this node's part is done, and all others are missing", () =>
    Effect.gen(function*() {
      const { kill, url } = yield* makeRedisServer()
      const [one] = yield* hubs(url, "one", "other")
      if (one === undefined) return yield* Effect.dieMessage("one")
      const ada = yield* user(one, "ada")
      yield* kill
      assert.deepStrictEqual(yield* one.channels.disconnect("ada"), { count: 1, missing: ["*"] })
      yield* ada.next("disconnected")
      assert.deepStrictEqual((yield* one.channels.info).missing, ["*"])
    }))
})
