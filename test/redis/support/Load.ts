/** Nodes of the hub behind a balancer, what they say of themselves, and the load under which a test breaks something. */
import { assert } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Redis from "../../../src/redis/Redis.js"
import { eventuallyEffect } from "../../node/support.js"
import { Diary } from "./Diary.js"
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

const open = (node: HubNode.HubNode) =>
  Effect.match(HubNode.metrics(node), {
    onFailure: () => undefined,
    onSuccess: (metrics) => metrics("ws_hub_redis_connections")
  })

/** Waits until `/ready` and the metric of connections say that Redis is there. */
const isThere = (node: HubNode.HubNode, connections: number | undefined): Effect.Effect<void> =>
  eventuallyEffect(Effect.zipWith(HubNode.ready(node), open(node), (ready, now) => ready && now === connections))

/** Waits until they say that it is not, and that no connection is left. */
export const away = (...nodes: ReadonlyArray<HubNode.HubNode>): Effect.Effect<void> =>
  Effect.forEach(
    nodes,
    (node) => eventuallyEffect(Effect.zipWith(HubNode.ready(node), open(node), (ready, now) => !ready && now === 0)),
    { concurrency: "unbounded", discard: true }
  )

// --- the load

export const clients = 12

/** The channel that is published to. */
export const loaded = "kept:load"

/** What a fault is done to, and what it may wait for. */
export interface Load {
  readonly publisher: Publisher
  /** Asks all nodes that live what they say just now. */
  readonly look: Effect.Effect<void>
}

/**
 * Publishes 200 times a second to clients on the nodes, while the fault happens. Whatever it is: each client sees each
 * offset once and in order or is told that it cannot; within 10 seconds after the fault is over one can publish; and
 * then all nodes say that Redis is there, with as many connections as before. Nodes that live are asked throughout.
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
    const diaries = yield* Effect.forEach(nodes, Diary.keep)
    const look = Effect.suspend(() =>
      Effect.forEach(diaries.filter(({ node }) => node.isAlive()), ({ look }) => look, {
        concurrency: "unbounded",
        discard: true
      })
    )
    const began = performance.now()
    yield* fault({ ...found, publisher, look })
    const over = performance.now()
    yield* isBack(found)
    yield* publisher.next(200)
    assert.isAtLeast(publisher.rate, 150)
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
    yield* look
    const said = diaries.filter(({ node }) => node.isAlive())
    for (const diary of said) diary.check()
    const sum = (of: "recovered" | "told") => all.reduce((sum, { starts }) => sum + starts[of], 0)
    return { failed: publisher.done.failed, recovered: sum("recovered"), told: sum("told"), said, began, over }
  })

/** When a fault began and was over, and what nodes said. */
interface Course {
  readonly said: ReadonlyArray<Diary>
  readonly began: number
  readonly over: number
}

/** Milliseconds. A ping and the time for its answer are 3 seconds; a failover takes some, and so may a busy machine. */
const noticed = 10_000
const mended = 20_000

/**
 * The nodes said in time that Redis is away and that it is back, and counted what failed and what is heard again. On a
 * machine that is busy with other things Redis may not answer in time once more: that is told as well, and no mistake.
 */
export const noticedBy = (course: Course, ...nodes: ReadonlyArray<Diary>): void => {
  for (const diary of nodes) assert.isNotEmpty(diary.said(false, course.began, course.began + noticed))
  mendedBy(course, ...nodes)
}

/** The same, where it may be over before they are asked. */
export const mendedBy = ({ over, said }: Course, ...nodes: ReadonlyArray<Diary>): void => {
  for (const diary of nodes) {
    assert.isTrue(diary.ready.at(-1))
    assert.isEmpty(diary.said(false, over + mended, Infinity))
    assert.isAbove(diary.added("resubscribes"), 0)
  }
  assert.isAbove(said.reduce((sum, diary) => sum + diary.added("errors"), 0), 0)
}

/** The same; and both connections went. */
export const lostBy = (course: Course, ...nodes: ReadonlyArray<Diary>): void => {
  noticedBy(course, ...nodes)
  for (const diary of nodes) {
    assert.isAtLeast(diary.added("reconnects"), 2)
    assert.isAbove(diary.added("errors"), 0)
  }
}

/** The nodes said during the fault that Redis is there. */
export const unnoticedBy = ({ began, over }: Course, ...nodes: ReadonlyArray<Diary>): void => {
  for (const diary of nodes) assert.isNotEmpty(diary.said(true, began, over))
}

const alive = ({ nodes }: Nodes) => nodes.filter(({ isAlive }) => isAlive())

/** How often it is tried, with 20 ms between: at most ten seconds, unless the machine is busy with other things. */
const tries = 400

/** One can publish by each node that lives, within ten seconds. */
export const isBack = (found: Nodes): Effect.Effect<void> =>
  Effect.suspend(() =>
    Effect.forEach(
      alive(found),
      (node) =>
        HubNode.publish(node, "kept:other", "back").pipe(
          Effect.retry(Schedule.intersect(Schedule.spaced("20 millis"), Schedule.recurs(tries))),
          Effect.catchAll(({ message }) =>
            Effect.dieMessage(`cannot publish in ${tries} tries: ${message}\n${node.log()}`)
          )
        ),
      { concurrency: "unbounded", discard: true }
    )
  )

const reached = (one: Witness, top: HubNode.Position) =>
  Effect.timeoutFailCause(one.reached(top), {
    duration: "20 seconds",
    onTimeout: () => Cause.die(`${one.name} is at ${one.position}, and the stream at ${top.epoch} ${top.offset}`)
  })
