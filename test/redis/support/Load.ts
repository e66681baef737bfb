/** Nodes of the hub behind a balancer, what they say of themselves, and the load under which a test breaks something. */
import { assert } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Redis from "../../../src/redis/Redis.js"
import { eventuallyEffect } from "../../node/support.js"
import * as HubNode from "./HubNode.js"
import { Line } from "./Line.js"
import { Publisher } from "./Publisher.js"
import { Ledger, type Witness, witness } from "./Witness.js"

export interface Nodes {
  readonly nodes: Array<HubNode.HubNode>
  /** Leads clients to the nodes in turn, and past one that is gone. */
  readonly balancer: Line
}

/** A node that has reached Redis. What would hide that an event is missing, by finding out otherwise, comes too late to help. */
export const startNode = (redis: Redis.Options): Effect.Effect<HubNode.HubNode, never, Scope.Scope> =>
  HubNode.start({
    redis: { ...redis, commandTimeout: "1 second" },
    channels: {
      ...HubNode.channels,
      presenceInterval: "500 millis",
      presenceTtl: "3 seconds",
      positionCheckInterval: "1 hour"
    }
  }).pipe(Effect.tap((node) => eventuallyEffect(HubNode.ready(node))))

/** A node for each. */
export const startNodes = (redis: ReadonlyArray<Redis.Options>): Effect.Effect<Nodes, never, Scope.Scope> =>
  Effect.gen(function*() {
    const nodes = yield* Effect.forEach(redis, startNode, { concurrency: "unbounded" })
    return { nodes, balancer: yield* Line.make(nodes.map(({ port }) => port)) }
  })

const names = (presence: Readonly<Record<string, { readonly user: string }>>): ReadonlyArray<string> =>
  Object.values(presence).map(({ user }) => user).sort()

/** Waits until the node says that exactly these users are in the channel. */
export const present = (node: { readonly port: number }, channel: string, users: ReadonlyArray<string>) =>
  eventuallyEffect(Effect.match(Effect.zip(HubNode.presence(node, channel), HubNode.presenceStats(node, channel)), {
    onFailure: () => false,
    onSuccess: ([there, { num_clients }]) =>
      num_clients === users.length && JSON.stringify(names(there)) === JSON.stringify([...users].sort())
  }))

// --- what nodes say of themselves

const open = (node: HubNode.HubNode) => HubNode.metric(node, "ws_hub_redis_connections")

/** Waits until `/ready` and the metric of connections say that Redis is there. */
const isThere = (node: HubNode.HubNode, connections: number): Effect.Effect<void> =>
  eventuallyEffect(Effect.zipWith(HubNode.ready(node), open(node), (ready, now) => ready && now === connections))

/** Waits until they say that it is not, and looks whether they stay with it. */
export const away = (...nodes: ReadonlyArray<HubNode.HubNode>): Effect.Effect<void> =>
  Effect.forEach(nodes, (node) =>
    Effect.gen(function*() {
      yield* eventuallyEffect(Effect.map(HubNode.ready(node), (ready) => !ready))
      const says = yield* Effect.replicateEffect(HubNode.ready(node), 10)
      assert.deepStrictEqual(says, says.map(() => false))
    }), { concurrency: "unbounded", discard: true })

/** Says of each time that a node was asked, whether it was ready, while the effect runs. */
export const watching = <A, E, R>(
  node: HubNode.HubNode,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<ReadonlyArray<boolean>, E, R> =>
  Effect.suspend(() => {
    const said: Array<boolean> = []
    const look = Effect.map(HubNode.ready(node), (ready) => void said.push(ready))
    return Effect.as(Effect.raceFirst(effect, Effect.forever(Effect.zipRight(look, Effect.sleep(10)))), said)
  })

// --- the load

export const clients = 12

/** The channel that is published to. */
export const loaded = "kept:load"

/** What a fault is done to, and what it may wait for. */
export interface Load {
  readonly publisher: Publisher
}

/**
 * Publishes 200 times a second to clients on the nodes, while the fault happens. Whatever it is: each client sees each
 * offset once and in order or is told that it cannot; within 10 seconds after the fault is over one can publish; and
 * then all nodes say that Redis is there, with as many connections as before.
 */
export const under = <N extends Nodes>(found: N, fault: (load: N & Load) => Effect.Effect<void>) =>
  Effect.gen(function*() {
    const { balancer, nodes } = found
    const all = yield* Effect.forEach(
      Array.from({ length: clients }, (_, n) => `user ${n}`),
      (name) => witness(balancer, name, loaded),
      { concurrency: "unbounded" }
    )
    const { publisher, stop } = yield* Publisher.make(balancer, loaded)
    yield* publisher.next(200)
    const connections = yield* open(nodes[0] ?? assert.fail("no node"))
    const reconnects = yield* Effect.forEach(nodes, reconnected)
    yield* fault({ ...found, publisher })
    yield* isBack(found)
    yield* publisher.next(200)
    yield* stop
    const top = yield* Effect.retry(HubNode.top(balancer, loaded), {
      schedule: Schedule.spaced("20 millis"),
      times: 500
    })
    yield* Effect.forEach(all, (one) => reached(one, top), { concurrency: "unbounded", discard: true })
    const ledger = new Ledger()
    publisher.check(ledger)
    for (const one of all) one.check(ledger)
    yield* present(balancer, loaded, all.map(({ name }) => name))
    yield* Effect.forEach(alive(found), (node) => isThere(node, connections), { concurrency: "unbounded" })
    const again = yield* Effect.forEach(
      nodes,
      (node, n) =>
        node.isAlive() ? Effect.map(reconnected(node), (now) => now > (reconnects[n] ?? 0)) : Effect.succeed(false)
    )
    const sum = (of: "recovered" | "told") => all.reduce((sum, { starts }) => sum + starts[of], 0)
    return { failed: publisher.done.failed, recovered: sum("recovered"), told: sum("told"), reconnected: again }
  })

const reconnected = (node: HubNode.HubNode) => HubNode.metric(node, "ws_hub_redis_reconnects_total")

const alive = ({ nodes }: Nodes) => nodes.filter(({ isAlive }) => isAlive())

/** One can publish by each node that lives. */
export const isBack = (found: Nodes) =>
  Effect.suspend(() =>
    Effect.forEach(
      alive(found),
      (node) => Effect.retry(HubNode.publish(node, "kept:other", "back"), Schedule.spaced("20 millis")),
      { concurrency: "unbounded", discard: true }
    )
  ).pipe(Effect.timeoutFail({ duration: "10 seconds", onTimeout: () => new Error("cannot publish") }), Effect.orDie)

const reached = (one: Witness, top: HubNode.Position) =>
  Effect.timeoutFailCause(one.reached(top), {
    duration: "20 seconds",
    onTimeout: () => Cause.die(`${one.name} is at ${one.position}, and the stream at ${top.epoch} ${top.offset}`)
  })
