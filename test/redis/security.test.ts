import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, Queue, Redacted } from "effect"
import { readFileSync } from "node:fs"
import * as ClusterRedis from "../../src/redis/ClusterRedis.js"
import { RedisConnection } from "../../src/redis/RedisConnection.js"
import { certificate, isOpensslInstalled } from "../certificate.js"
import { makeNode, persist, until } from "./support/Nodes.js"
import { makeRedisCluster } from "./support/RedisCluster.js"
import { isRedisInstalled, makeRedisServer } from "./support/RedisServer.js"

const logInto = (logged: Array<string>) =>
  Logger.replace(Logger.defaultLogger, Logger.make(({ message }) => logged.push(String(message))))

const fast = { retryInterval: 50 }

describe.skipIf(!isRedisInstalled)("who may connect to Redis", () => {
  it.scopedLive("with a password, from the address or the options", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer({ args: ["--requirepass", "s:cret"], cliArgs: ["-a", "s:cret"] })
      const { port } = server
      for (
        const options of [
          { url: `redis://:s%3Acret@127.0.0.1:${port}/3` },
          { url: `redis://127.0.0.1:${port}`, password: Redacted.make("s:cret") },
          { url: `redis://127.0.0.1:${port}`, username: "default", password: "s:cret", database: 3 }
        ]
      ) {
        const { broker, redis } = yield* makeNode(options)
        yield* redis.connected
        yield* broker.publish("a", { data: "1", stream: { size: 1, ttl: 60_000, metaTtl: 60_000 } })
      }
      assert.match(yield* server.cli("INFO", "keyspace"), /db0:keys=2[^]*db3:keys=2/)
    }))

  it.scopedLive("not with a wrong one; nobody is told which it was", () =>
    Effect.gen(function*() {
      const logged: Array<string> = []
      const server = yield* makeRedisServer({ args: ["--requirepass", "right"], cliArgs: ["-a", "right"] })
      const { broker, redis } = yield* Effect.provide(
        makeNode({ url: `redis://:wrong@127.0.0.1:${server.port}`, ...fast }, true),
        logInto(logged)
      )
      yield* until(Effect.sync(() => logged.length >= 2))
      assert.isFalse(yield* redis.isConnected)
      const error = yield* Effect.flip(broker.publish("a", { data: "1" }))
      assert.match(logged.join("\n"), /WRONGPASS/)
      assert.notMatch(`${logged.join("\n")}${error.message}${JSON.stringify(redis.config)}`, /wrong/)
    }))

  it.scopedLive("no more: what its user may not do fails and says so, and without its password it is away until then", () =>
    Effect.gen(function*() {
      const logged: Array<string> = []
      const server = yield* makeRedisServer()
      const change = (...rules: ReadonlyArray<string>) => server.cli("ACL", "SETUSER", "hub", ...rules)
      yield* change("on", ">s:cret", "~*", "&*", "+@all")
      const { broker, events, redis } = yield* Effect.provide(
        makeNode({ url: `redis://hub:s%3Acret@127.0.0.1:${server.port}`, ...fast }, true),
        logInto(logged)
      )
      yield* redis.connected
      yield* broker.subscribe("a")
      const publish = (data: string) => broker.publish("a", { data, stream: { size: 9, ttl: 60_000, metaTtl: 60_000 } })
      yield* publish("1")
      yield* Queue.take(events)

      yield* change("-evalsha", "-eval", "-subscribe")
      assert.match((yield* Effect.flip(publish("2"))).message, /NOPERM/)
      assert.match((yield* Effect.flip(broker.subscribe("b"))).message, /NOPERM/)
      assert.isTrue(yield* redis.isConnected)
      yield* change("+@all")
      yield* broker.subscribe("b")
      assert.strictEqual((yield* publish("2"))?.offset, 2)
      yield* Queue.take(events)

      // Connections that are open stay open; those that are made again are refused.
      yield* change("resetpass", ">another")
      assert.strictEqual((yield* publish("3"))?.offset, 3)
      yield* Queue.take(events)
      assert.strictEqual(yield* server.cli("CLIENT", "KILL", "USER", "hub"), "2")
      yield* until(Effect.sync(() => logged.some((line) => line.includes("WRONGPASS"))))
      assert.isFalse(yield* redis.isConnected)
      assert.match((yield* Effect.flip(publish("4"))).message, /not connected/)
      yield* change("resetpass", ">s:cret")
      yield* redis.connected
      const gaps = yield* Queue.takeN(events, 2)
      assert.sameMembers(Array.from(gaps, ({ _tag, channel }) => `${_tag} ${channel}`), ["Gap a", "Gap b"])
      assert.strictEqual((yield* persist(publish("4")))?.offset, 4)
      assert.notMatch(logged.join("\n"), /s:cret|s%3Acret/)
    }))

  it.scopedLive.skipIf(!isOpensslInstalled)("over TLS, if the certificate is good", () =>
    Effect.gen(function*() {
      const { cert, key } = yield* certificate
      const { port } = yield* makeRedisServer({ tls: { cert, key } })
      const ca = readFileSync(cert)
      const good = yield* makeNode({ url: `rediss://127.0.0.1:${port}`, tls: { ca } })
      yield* good.redis.connected
      yield* good.broker.publish("a", { data: "1" })
      const named = yield* makeNode({ url: `redis://localhost:${port}`, tls: true, ...fast })
      assert.isTrue(named.redis.config.servers._tag === "Shards" && named.redis.config.servers.servers[0]?.tls)
      const logged: Array<string> = []
      const bad = yield* Effect.provide(makeNode({ url: `rediss://127.0.0.1:${port}`, ...fast }, true), logInto(logged))
      yield* until(Effect.sync(() => logged.length >= 2))
      assert.match(logged.join("\n"), /self.signed certificate/)
      assert.isFalse(yield* bad.redis.isConnected)
    }))

  it.scopedLive.skipIf(!isOpensslInstalled)(
    "a master that a Sentinel names over TLS gets its password over TLS too",
    () =>
      Effect.gen(function*() {
        const { cert, key } = yield* certificate
        const tls = { cert, key }
        const client = ["--tls", "--cacert", cert]
        const master = yield* makeRedisServer({ tls, args: ["--requirepass", "s"] })
        const sentinel = yield* makeRedisServer({
          tls,
          isSentinel: true,
          args: ["--tls-replication", "yes"],
          cliArgs: client
        })
        yield* sentinel.cli("SENTINEL", "MONITOR", "main", "127.0.0.1", `${master.port}`, "1")
        yield* sentinel.cli("SENTINEL", "SET", "main", "auth-pass", "s")
        const { redis } = yield* makeNode({
          sentinel: { name: "main", urls: [`rediss://127.0.0.1:${sentinel.port}`] },
          tls: { ca: readFileSync(cert) },
          password: "s",
          ...fast
        })
        yield* redis.connected
      })
  )

  it.scopedLive.skipIf(!isOpensslInstalled)(
    "a Cluster over TLS, with a password: all its nodes are spoken to so",
    () =>
      Effect.gen(function*() {
        const { cert, key } = yield* certificate
        const servers = yield* makeRedisCluster({
          tls: { cert, key },
          args: ["--tls-cluster", "yes", "--requirepass", "s", "--masterauth", "s"],
          cliArgs: ["--tls", "--cacert", cert, "-a", "s", "--no-auth-warning"]
        })
        const { broker, events, redis } = yield* makeNode({
          cluster: servers.slice(0, 1).map(({ url }) => url),
          tls: { ca: readFileSync(cert) },
          password: "s",
          ...fast
        })
        yield* redis.connected
        const channels = Array.from({ length: 20 }, (_, n) => `${n}`)
        yield* Effect.forEach(channels, broker.subscribe, { concurrency: "unbounded" })
        yield* Effect.forEach(channels, (channel) => broker.publish(channel, { data: "1" }), {
          concurrency: "unbounded"
        })
        const heard = yield* Queue.takeN(events, channels.length)
        assert.sameMembers(Array.from(heard, ({ channel }) => channel), channels)
        for (const server of servers) {
          assert.notStrictEqual(yield* server.cli("PUBSUB", "SHARDCHANNELS"), "", "each has some of them")
        }
      })
  )

  it.scopedLive("a Sentinel has a password of its own, in its address", () =>
    Effect.gen(function*() {
      const logged: Array<string> = []
      const master = yield* makeRedisServer({ args: ["--requirepass", "of the master"] })
      const sentinel = yield* makeRedisServer({
        isSentinel: true,
        args: ["--requirepass", "s:cret"],
        cliArgs: ["-a", "s:cret", "--no-auth-warning"]
      })
      yield* sentinel.cli("SENTINEL", "MONITOR", "main", "127.0.0.1", `${master.port}`, "1")
      yield* sentinel.cli("SENTINEL", "SET", "main", "auth-pass", "of the master")
      const at = (url: string) => ({ sentinel: { name: "main", urls: [url] }, password: "of the master", ...fast })
      const good = yield* makeNode(at(`redis://:s%3Acret@127.0.0.1:${sentinel.port}`))
      yield* good.redis.connected
      yield* good.broker.publish("a", { data: "1" })
      const bad = yield* Effect.provide(makeNode(at(sentinel.url), true), logInto(logged))
      yield* until(Effect.sync(() => logged.length >= 2))
      assert.match(logged.join("\n"), /NOAUTH/)
      assert.isFalse(yield* bad.redis.isConnected)
    }))

  it.scopedLive("another database is another hub, and so is another prefix", () =>
    Effect.gen(function*() {
      const { port } = yield* makeRedisServer()
      const options = [
        { url: `redis://127.0.0.1:${port}` },
        { url: `redis://127.0.0.1:${port}/1` },
        { url: `redis://127.0.0.1:${port}`, database: 12 },
        { url: `redis://127.0.0.1:${port}`, prefix: "other" }
      ]
      const hubs = yield* Effect.forEach(options, (redis, at) =>
        Effect.gen(function*() {
          const { broker, events, redis: connection } = yield* makeNode(redis)
          yield* connection.connected
          yield* broker.subscribe("a")
          const cluster = yield* Effect.provideService(ClusterRedis.make(), RedisConnection, connection)
          const ask = yield* cluster.join({ uid: `${at}`, answer: () => Effect.succeed(`${at}`) })
          return { ask, broker, events }
        }))
      for (const [at, { ask }] of hubs.entries()) {
        const { answers, missing } = yield* persist(ask("who is there?"))
        assert.deepStrictEqual([...answers.map(({ node }) => node), ...missing], [], `${at}`)
      }
      for (const [at, { broker, events }] of hubs.entries()) {
        yield* broker.publish("a", { data: `"with ${at}"`, stream: { size: 1, ttl: 60_000, metaTtl: 60_000 } })
        yield* broker.publish("a", { data: `"without ${at}"` })
        const heard = yield* Queue.takeN(events, 2)
        assert.deepStrictEqual(
          Array.from(heard, (event) => event._tag === "Published" && event.publication.data),
          [`"with ${at}"`, `"without ${at}"`]
        )
      }
      for (const { events } of hubs) assert.strictEqual(yield* Queue.size(events), 0)
    }))
})
