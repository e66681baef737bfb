import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { randomInt } from "node:crypto"
import { random } from "../channels/proxy.js"
import { type Sdk, sdk } from "../channels/support.js"
import { eventuallyEffect } from "../node/support.js"
import * as HubNode from "./support/HubNode.js"
import { Line } from "./support/Line.js"
import {
  away,
  clients,
  isBack,
  type Load,
  lostBy,
  type Nodes,
  present,
  startNode,
  startNodes,
  under,
  unnoticedBy
} from "./support/Load.js"
import { isRedisInstalled, makeRedisServer, type RedisServer } from "./support/RedisServer.js"
import { Ledger, urlOf, witness } from "./support/Witness.js"

interface Cluster extends Nodes {
  readonly redis: RedisServer
  /** Between each node and Redis. */
  readonly lines: ReadonlyArray<Line>
  /** Another node in the place of one that is gone. */
  readonly replace: (at: number) => Effect.Effect<void>
}

/** Some nodes on one Redis. */
const cluster = (count: number, args: ReadonlyArray<string> = []): Effect.Effect<Cluster, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const redis = yield* makeRedisServer({ args })
    const lines = yield* Effect.replicateEffect(Line.make([redis.port]), count)
    const by = ({ port }: Line) => ({ url: `redis://127.0.0.1:${port}` })
    const found = yield* startNodes(lines.map(by))
    const replace = (at: number) =>
      Effect.flatMap(Scope.extend(startNode(by(on(lines, at))), scope), (node) => {
        found.nodes[at] = node
        return found.balancer.lead(...found.nodes.map(({ port }) => port))
      })
    return { ...found, redis, lines, replace }
  })

const on = <A>(all: ReadonlyArray<A>, at: number): A => {
  const found = all[at % all.length]
  if (found === undefined) throw new Error("There is none.")
  return found
}

/** A client of the SDK, on this node. */
const user = (node: { readonly port: number }, name: string): Effect.Effect<Sdk, never, Scope.Scope> =>
  Effect.tap(sdk({ url: urlOf(node) }, { token: name }), (client) => client.connect)

describe.runIf(isRedisInstalled)("two and three nodes on one Redis", () => {
  it.scopedLive("a publication by any node reaches all subscribers, in one order", () =>
    Effect.gen(function*() {
      const { nodes } = yield* cluster(3)
      const subs = yield* Effect.forEach(["plain", "kept:x"], (channel) =>
        Effect.forEach([0, 1, 2, 3, 4, 5], (n) =>
          Effect.flatMap(user(on(nodes, n), `user ${n}`), (client) =>
            client.subscribe(channel))))
      const data = Array.from({ length: 30 }, (_, n) =>
        n)
      for (const channel of ["plain", "kept:x"]) {
        yield* Effect.forEach(data, (n) => HubNode.publish(on(nodes, n), channel, n), { concurrency: "unbounded" })
      }
      for (const same of subs) {
        const [first, ...others] = yield* Effect.forEach(same, (sub) => sub.data(data.length))
        assert.deepStrictEqual([...first ?? []].sort((a, b) => Number(a) - Number(b)), data)
        for (const other of others) assert.deepStrictEqual(other, first)
      }
    }))

  it.scopedLive("a client's publication, its joining and its leaving are seen on the other node", () =>
    Effect.gen(function*() {
      const { nodes } = yield* cluster(2)
      const [ada, bob] = yield* Effect.all([user(on(nodes, 0), "ada"), user(on(nodes, 1), "bob")])
      const hers = yield* ada.subscribe("room:x")
      yield* Effect.all([present(on(nodes, 0), "room:x", ["ada"]), present(on(nodes, 1), "room:x", ["ada"])])
      const his = yield* bob.subscribe("room:x")
      // Her own, then his.
      assert.deepStrictEqual((yield* hers.take("join", 2)).map(({ info }) => info.user), ["ada", "bob"])
      yield* Effect.all([
        present(on(nodes, 0), "room:x", ["ada", "bob"]),
        present(on(nodes, 1), "room:x", ["ada", "bob"])
      ])
      yield* Effect.promise(() => his.sub.publish({ text: "hello" }))
      const { data, info } = yield* hers.next("publication")
      assert.deepStrictEqual(data, { text: "hello" })
      assert.deepInclude(info, { user: "bob", connInfo: { name: "bob" } })
      bob.client.disconnect()
      assert.strictEqual((yield* hers.next("leave")).info.user, "bob")
      yield* Effect.all([present(on(nodes, 0), "room:x", ["ada"]), present(on(nodes, 1), "room:x", ["ada"])])
    }))

  it.scopedLive("a client that comes back on another node gets what it missed", () =>
    Effect.gen(function*() {
      const { balancer, nodes } = yield* cluster(2)
      yield* balancer.lead(on(nodes, 0).port)
      const seen = yield* witness(balancer, "ada", "kept:x")
      yield* Effect.forEach([1, 2], (n) => HubNode.publish(on(nodes, n), "kept:x", n))
      yield* seen.until(({ count }) => count === 2)
      yield* balancer.cut
      yield* Effect.forEach([3, 4, 5], (n) => HubNode.publish(on(nodes, n), "kept:x", n))
      yield* balancer.lead(on(nodes, 1).port)
      yield* balancer.mend
      yield* seen.until(({ count }) => count === 5)
      const last = yield* HubNode.publish(on(nodes, 0), "kept:x", 6)
      assert.strictEqual(last.offset, 6)
      yield* seen.until(({ count }) => count === 6)
      seen.check(new Ledger())
      assert.deepStrictEqual(seen.starts, { recovered: 1, told: 0 })
    }))

  it.scopedLive("what a node could not hear reaches its clients, though nothing follows it", () =>
    Effect.gen(function*() {
      const { lines, nodes } = yield* cluster(2)
      const [seen, near] = yield* Effect.all([
        witness(on(nodes, 0), "ada", "kept:x"),
        witness(on(nodes, 1), "bob", "kept:x")
      ])
      const publish = (n: number) => HubNode.publish(on(nodes, 1), "kept:x", n)
      yield* publish(1)
      yield* seen.until(({ count }) => count === 1)
      yield* on(lines, 0).cut
      yield* Effect.forEach([2, 3], publish)
      yield* near.until(({ count }) => count === 3)
      assert.strictEqual(seen.count, 1)
      yield* on(lines, 0).mend
      yield* seen.until(({ count }) => count === 3)
      seen.check(new Ledger())
      assert.deepStrictEqual(seen.starts, { recovered: 1, told: 0 })
    }))

  it.scopedLive("of a node that was killed nothing is left after its lease, and of nobody else anything is lost", () =>
    Effect.gen(function*() {
      const { nodes } = yield* cluster(2)
      const there = yield* Effect.forEach([0, 1, 2, 3], (n) => user(on(nodes, n), `user ${n}`))
      yield* Effect.forEach(there, (client) => client.subscribe("room:x"))
      const [gone, stays] = [on(nodes, 0), on(nodes, 1)]
      yield* present(stays, "room:x", ["user 0", "user 1", "user 2", "user 3"])
      yield* gone.kill
      const lives = Effect.map(HubNode.presence(stays, "room:x"), (there) => {
        assert.includeMembers(Object.values(there).map(({ user }) => user), ["user 1", "user 3"])
        return Object.keys(there).length === 2
      })
      yield* eventuallyEffect(Effect.orDie(lives))
      assert.deepStrictEqual(yield* HubNode.presenceStats(stays, "room:x"), { num_clients: 2, num_users: 2 })
    }))

  it.scopedLive("a node that stood still for longer than all its leases: it is forgotten, and then there again", () =>
    Effect.gen(function*() {
      const { nodes } = yield* cluster(2)
      const [still, stays] = [on(nodes, 0), on(nodes, 1)]
      const both = eventuallyEffect(Effect.map(HubNode.nodes(stays), (nodes) => nodes === 2))
      yield* both
      const [ada, seen] = yield* Effect.all([user(still, "ada"), witness(still, "ada", "kept:x")])
      const hers = yield* ada.subscribe("room:x")
      yield* Effect.flatMap(user(stays, "bob"), (client) => client.subscribe("room:x"))
      yield* HubNode.publish(stays, "kept:x", 1)
      yield* seen.until(({ count }) => count === 1)

      yield* still.signal("SIGSTOP")
      yield* present(stays, "room:x", ["bob"])
      yield* present(stays, "kept:x", [])
      // Asked of all nodes: it is missing first, and then it is none.
      yield* eventuallyEffect(Effect.map(HubNode.nodes(stays), (nodes) => nodes === 1))
      yield* Effect.forEach([2, 3], (n) => HubNode.publish(stays, "kept:x", n))

      yield* still.signal("SIGCONT")
      yield* seen.until(({ count }) => count === 3)
      seen.check(new Ledger())
      assert.strictEqual(seen.starts.told, 0)
      yield* present(stays, "room:x", ["ada", "bob"])
      yield* present(stays, "kept:x", ["ada"])
      yield* both
      yield* HubNode.publish(stays, "room:x", "again")
      assert.deepStrictEqual(yield* hers.data(1), ["again"])
      assert.deepStrictEqual(ada.heard("disconnected"), [])
    }))
})

describe.runIf(isRedisInstalled)("while 200 are published per second to twelve clients on three nodes", () => {
  it.scopedLive("a node is killed: its clients go on elsewhere", () =>
    Effect.gen(function*() {
      const course = yield* under(
        yield* cluster(3),
        ({ nodes }) => on(nodes, 0).kill
      )
      assert.isAtLeast(course.recovered, clients / 3)
      assert.strictEqual(course.told, 0)
      assert.strictEqual(course.said.length, 2)
    }))

  // What had not reached the disk is missing, and its offsets would be given twice: a new run is a new epoch.
  for (const [how, args] of [["empty", []], ["with its data", ["--appendonly", "yes"]]] as const) {
    it.scopedLive(`Redis is killed, and comes back ${how}: everybody is told`, () =>
      Effect.gen(function*() {
        const course = yield* under(
          yield* cluster(3, args),
          ({ look, nodes, publisher, redis }) =>
            Effect.all([redis.kill, publisher.fails(100), away(...nodes), look, redis.start], { discard: true })
        )
        assert.isAtLeast(course.failed, 100)
        assert.strictEqual(course.told, clients)
        lostBy(course, ...course.said)
      }))
  }

  const faults = {
    "a node is cut off from Redis": { begin: ({ cut }: Line) => cut, end: ({ mend }: Line) => mend },
    "nothing passes between a node and Redis, and nobody is told": {
      begin: ({ freeze }: Line) => freeze,
      end: ({ thaw }: Line) => thaw
    }
  }
  for (const [name, { begin, end }] of Object.entries(faults)) {
    it.scopedLive(name, () =>
      Effect.gen(function*() {
        const course = yield* under(yield* cluster(3), ({ lines, look, nodes, publisher }) =>
          Effect.all([begin(on(lines, 0)), publisher.fails(100), away(on(nodes, 0)), look, end(on(lines, 0))], {
            discard: true
          }))
        assert.isAtLeast(course.recovered, clients / 3)
        assert.strictEqual(course.told, 0)
        const [lost, ...others] = course.said
        lostBy(course, ...lost === undefined ? assert.fail("no node") : [lost])
        unnoticedBy(course, ...others)
      }))
  }

  it.scopedLive("Redis stops for a while", () =>
    Effect.gen(function*() {
      const course = yield* under(yield* cluster(3), ({ look, nodes, publisher, redis }) =>
        Effect.all([redis.signal("SIGSTOP"), publisher.fails(300), away(...nodes), look, redis.signal("SIGCONT")], {
          discard: true
        }))
      assert.strictEqual(course.told, 0)
      lostBy(course, ...course.said)
    }))

  const seed = Number(process.env["SEED"] ?? randomInt(2 ** 31))
  const rounds = process.env["TEST_LONG"] === undefined ? 3 : 40

  it.scopedLive(`one fault after the other (seed ${seed})`, () =>
    Effect.gen(function*() {
      const next = random(seed)
      const whole = (n: number) => Math.floor(next() * n)
      let restarts = 0
      const once = ({ lines, nodes, publisher, redis, replace }: Cluster & Load): Effect.Effect<void> => {
        const at = whole(nodes.length)
        const line = on(lines, at)
        const failures = publisher.fails(1 + whole(300))
        switch (whole(6)) {
          case 0:
            return Effect.zipRight(on(nodes, at).kill, replace(at))
          case 1:
            return Effect.all([line.cut, failures, line.mend], { discard: true })
          case 2:
            return Effect.all([line.freeze, failures, line.thaw], { discard: true })
          case 3:
            return Effect.all([line.freeze, failures, line.cut, line.thaw, line.mend], { discard: true })
          case 4:
            return Effect.all([redis.signal("SIGSTOP"), failures, redis.signal("SIGCONT")], { discard: true })
          default:
            restarts++
            return Effect.all([redis.kill, failures, redis.start], { discard: true })
        }
      }
      const { told } = yield* under(yield* cluster(3), (load) =>
        Effect.repeatN(
          Effect.zipRight(Effect.suspend(() => once(load)), Effect.zipRight(isBack(load), load.publisher.next(50))),
          rounds - 1
        ))
      if (restarts === 0) assert.strictEqual(told, 0)
      else assert.isAtLeast(told, clients)
    }), 1_800_000)
})
