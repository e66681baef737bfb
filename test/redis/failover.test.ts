import { assert, describe, it } from "@effect/vitest"
import { Effect, Queue } from "effect"
import type { StreamOptions } from "../../src/channels/Broker.js"
import { ownerSlot } from "../../src/redis/RedisSlots.js"
import { makeNode, persist, until } from "./support/Nodes.js"
import { makeRedisCluster } from "./support/RedisCluster.js"
import { makeRedisSentinel } from "./support/RedisSentinel.js"
import { isRedisInstalled, makeRedisServer, type RedisServer } from "./support/RedisServer.js"

const stream: StreamOptions = { size: 1000, ttl: 60_000, metaTtl: 600_000 }

const fast = { retryInterval: 100, commandTimeout: 1000, pingInterval: 1000 }

type Node = Effect.Effect.Success<ReturnType<typeof makeNode>>

/** The next event of a kind, and how many were skipped. */
const next = ({ events }: Node, tag: "Gap" | "Published") =>
  Effect.repeat(Queue.take(events), { until: (event) => event._tag === tag })

const slotOwner = (servers: ReadonlyArray<RedisServer>, slot: number): RedisServer => {
  const server = servers[Math.floor(slot * 3 / 16384)]
  if (server === undefined) throw new Error("no such server")
  return server
}

describe.skipIf(!isRedisInstalled)("failover", () => {
  it.scopedLive("of a master with a Sentinel: a gap, another epoch, and all goes on", () =>
    Effect.gen(function*() {
      const { master, sentinel } = yield* makeRedisSentinel
      const node = yield* makeNode({ sentinel: { name: "main", urls: [sentinel.url] }, ...fast })
      yield* node.redis.connected
      yield* node.broker.subscribe("a")
      const before = yield* node.broker.publish("a", { data: "1", stream })
      yield* master.kill
      assert.strictEqual((yield* next(node, "Gap"))._tag, "Gap")
      const after = yield* persist(node.broker.publish("a", { data: "2", stream }))
      assert.notStrictEqual(after?.epoch, before?.epoch)
      const heard = yield* next(node, "Published")
      assert.strictEqual(heard._tag === "Published" && heard.epoch, after?.epoch)
    }))

  it.scopedLive("that a Sentinel is asked for: the old master takes no more, and other Sentinels may be mute", () =>
    Effect.gen(function*() {
      const { replica, sentinel } = yield* makeRedisSentinel
      const mute = yield* Effect.replicateEffect(makeRedisServer(), 2)
      for (const { signal } of mute) yield* signal("SIGSTOP")
      const [first, last] = mute.map(({ url }) => url)
      const urls = [first, sentinel.url, last].flatMap((url) => url ?? [])
      // Whoever waits for a mute one waits for as long as this test has.
      const node = yield* makeNode({ sentinel: { name: "main", urls }, ...fast, connectTimeout: 300_000 })
      yield* node.redis.connected
      yield* node.broker.subscribe("a")
      yield* node.broker.publish("a", { data: "1", stream })
      assert.strictEqual(yield* sentinel.cli("SENTINEL", "FAILOVER", "main"), "OK")
      yield* until(Effect.map(replica.cli("ROLE"), (role) => role.startsWith("master")))
      yield* next(node, "Gap")
      const after = yield* persist(node.broker.publish("a", { data: "2", stream }))
      assert.strictEqual(
        yield* replica.cli("GET", node.redis.key("a", "m")),
        `${after?.offset}:${after?.epoch}`,
        "the new master has it"
      )
    }))

  it.scopedLive("of a master that is mute: any Sentinel tells, and nobody waits for the master", () =>
    Effect.gen(function*() {
      const { master, sentinel } = yield* makeRedisSentinel
      const mute = yield* makeRedisServer()
      yield* mute.signal("SIGSTOP")
      const forEver = { commandTimeout: 300_000, pingInterval: 300_000, connectTimeout: 300_000 }
      const node = yield* makeNode({ sentinel: { name: "main", urls: [mute.url, sentinel.url] }, ...fast, ...forEver })
      yield* node.redis.connected
      const before = yield* node.broker.publish("a", { data: "1", stream })
      yield* master.signal("SIGSTOP")
      const after = yield* persist(node.broker.publish("a", { data: "2", stream }))
      assert.notStrictEqual(after?.epoch, before?.epoch)
    }))

  it.scopedLive("that comes while the old master, which is mute, is asked whether it still is one", () =>
    Effect.gen(function*() {
      const { master, sentinel } = yield* makeRedisSentinel
      // Whoever waits for the answer waits for as long as this test has.
      const node = yield* makeNode({
        sentinel: { name: "main", urls: [sentinel.url] },
        ...fast,
        commandTimeout: 100,
        pingInterval: 20,
        connectTimeout: 300_000
      })
      yield* node.redis.connected
      yield* master.signal("SIGSTOP")
      yield* until(Effect.map(node.redis.isConnected, (is) => !is))
      yield* until(node.redis.isConnected)
    }))

  it.scopedLive("to a replica that takes no writes: Redis is away, until it takes them", () =>
    Effect.gen(function*() {
      const [server, other] = [yield* makeRedisServer(), yield* makeRedisServer()]
      const node = yield* makeNode({ url: server.url, ...fast })
      yield* node.redis.connected
      yield* node.broker.subscribe("a")
      yield* server.cli("REPLICAOF", "127.0.0.1", `${other.port}`)
      assert.match((yield* Effect.flip(node.broker.publish("a", { data: "1", stream }))).message, /READONLY/)
      const asked = Effect.map(server.cli("INFO", "commandstats"), (info) =>
        Number(/cmdstat_info:calls=(\d+)/.exec(info)?.[1] ?? 0))
      const before = yield* asked
      // It connects again and again, and is never ready.
      yield* until(Effect.zipWith(asked, node.redis.isConnected, (now, is) => {
        assert.isFalse(is)
        return now > before + 10
      }))
      yield* server.cli("REPLICAOF", "NO", "ONE")
      yield* until(node.redis.isConnected)
      yield* persist(node.broker.publish("a", { data: "2", stream }))
      yield* next(node, "Published")
    }))

  it.scopedLive(
    "of a node of a Cluster: its names are heard from its replica, with a gap; the others go on",
    () =>
      Effect.gen(function*() {
        const servers = yield* makeRedisCluster({ replicas: true })
        const options = { cluster: servers.map(({ url }) => url), ...fast }
        const [one, two] = [yield* makeNode(options), yield* makeNode(options)]
        yield* one.redis.connected
        yield* two.redis.connected
        const lost = slotOwner(servers, ownerSlot("a"))
        const channels = Array.from({ length: 200 }, (_, index) => `${index}`)
        const others = channels.filter((channel) => slotOwner(servers, ownerSlot(channel)) !== lost)
        yield* Effect.forEach(["a", ...channels], (channel) => one.broker.subscribe(channel), {
          concurrency: "unbounded"
        })
        yield* two.broker.publish("a", { data: "1", stream })
        yield* next(one, "Published")

        yield* lost.kill
        const after = yield* persist(two.broker.publish("a", { data: "2", stream }))
        assert.strictEqual(after?.offset, 1, "what the dead one had said last is not known")
        const gaps = yield* Effect.iterate(new Set<string>(), {
          while: (gaps) => gaps.size < channels.length - others.length + 1,
          body: (gaps) => Effect.map(next(one, "Gap"), ({ channel }) => gaps.add(channel))
        })
        assert.deepStrictEqual(others.filter((channel) => gaps.has(channel)), [])
        yield* until(one.redis.isConnected)
        yield* until(two.redis.isConnected)
        yield* Effect.forEach(channels, (channel) => two.broker.publish(channel, { data: channel }), {
          concurrency: "unbounded"
        })
        const heard = yield* Effect.iterate(new Set<string>(["a"]), {
          while: (heard) => heard.size < channels.length + 1,
          body: (heard) => Effect.map(next(one, "Published"), ({ channel }) => heard.add(channel))
        })
        assert.deepStrictEqual(heard, new Set(["a", ...channels]))
      }),
    30_000
  )

  it.scopedLive("a slot that moves to another node takes its names along", () =>
    Effect.gen(function*() {
      const servers = yield* makeRedisCluster()
      const node = yield* makeNode({ cluster: servers.map(({ url }) => url), ...fast })
      yield* node.redis.connected
      yield* node.broker.subscribe("a")
      yield* node.broker.publish("a", { data: "1", stream })
      yield* next(node, "Published")
      const slot = ownerSlot("a")
      const from = slotOwner(servers, slot)
      const to = servers.find((server) => server !== from)
      if (to === undefined) return assert.fail("no other server")
      const [fromId, toId] = [yield* from.cli("CLUSTER", "MYID"), yield* to.cli("CLUSTER", "MYID")]
      yield* to.cli("CLUSTER", "SETSLOT", `${slot}`, "IMPORTING", fromId)
      yield* from.cli("CLUSTER", "SETSLOT", `${slot}`, "MIGRATING", toId)
      assert.strictEqual((yield* node.broker.publish("a", { data: "2", stream }))?.offset, 2, "before its keys move")
      const keys = (yield* from.cli("CLUSTER", "GETKEYSINSLOT", `${slot}`, "100")).split("\n")
      assert.strictEqual(keys.length, 2)
      yield* from.cli("MIGRATE", "127.0.0.1", `${to.port}`, "", "0", "5000", "KEYS", ...keys)
      const asked = yield* node.broker.publish("a", { data: "3", stream })
      assert.strictEqual(asked?.offset, 1, "the node is asked to go elsewhere, and another run has another epoch")
      for (const server of servers) yield* server.cli("CLUSTER", "SETSLOT", `${slot}`, "NODE", toId)
      yield* next(node, "Gap")
      assert.deepStrictEqual(yield* node.broker.publish("a", { data: "4", stream }), { ...asked, offset: 2 })
      const heard = yield* next(node, "Published")
      assert.strictEqual(heard._tag === "Published" && heard.publication.data, "4")
    }))

  it.scopedLive("a node that is cut off from the others is not asked where they are", () =>
    Effect.gen(function*() {
      const servers = yield* makeRedisCluster({ nodeTimeout: 30_000 })
      const [first, ...others] = servers
      if (first === undefined) return assert.fail("no server")
      const node = yield* makeNode({ cluster: servers.map(({ url }) => url), ...fast })
      yield* node.redis.connected
      const channels = Array.from({ length: 30 }, (_, index) => `${index}`)
      const far = channels.filter((channel) => slotOwner(servers, ownerSlot(channel)) !== first)
      const near = channels.filter((channel) => slotOwner(servers, ownerSlot(channel)) === first)
      // It knows of nobody but itself, is down, and says so.
      for (const other of others) yield* first.cli("CLUSTER", "FORGET", yield* other.cli("CLUSTER", "MYID"))
      yield* until(Effect.map(first.cli("CLUSTER", "INFO"), (info) => info.includes("cluster_state:fail")))
      const lost = Effect.flip(node.broker.publish(near[0] ?? "", { data: "1", stream }))
      for (let round = 0; round < 5; round++) {
        assert.match((yield* lost).message, /CLUSTERDOWN/)
        yield* Effect.forEach(far, (channel) => node.broker.publish(channel, { data: "1", stream }))
        // Longer than until the Cluster is asked again.
        yield* Effect.sleep(150)
      }
    }))

  it.scopedLive("a Cluster that is not there yet is waited for", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer({ stopped: true, args: ["--cluster-enabled", "yes"] })
      const node = yield* makeNode({ cluster: [server.url], ...fast })
      assert.isFalse(yield* node.redis.isConnected)
      assert.match((yield* Effect.flip(node.broker.publish("a", { data: "1" }))).message, /not connected/)
      yield* server.start
      yield* server.cli("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
      yield* node.redis.connected
      yield* persist(node.broker.subscribe("a"))
      yield* node.broker.publish("a", { data: "1" })
      assert.strictEqual((yield* next(node, "Published")).channel, "a")
    }))
})
