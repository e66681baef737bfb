import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Facts } from "./fixtures/protocol.js"
import { grown, totalBytes } from "./heap.js"
import {
  type Child,
  closePayload,
  eventuallyEffect,
  frame,
  handshake,
  opcode,
  raw,
  rawOpen,
  spawnServer,
  unbundled
} from "./support.js"

const served = (child: Child, path: string) =>
  Effect.gen(function*() {
    const peer = yield* rawOpen(child, path)
    yield* peer.send(frame(opcode.text, "hello"))
    yield* peer.until(() => peer.frames.length > 0)
    return peer
  })

/** The ways to come and go. */
const cycles = [
  (child: Child, under: string) =>
    Effect.gen(function*() {
      const peer = yield* served(child, `${under}/echo`)
      yield* peer.send(frame(opcode.close, closePayload(1000)))
      yield* peer.until(() => peer.closeCode === 1000)
    }),
  (child: Child, under: string) => Effect.flatMap(served(child, `${under}/all`), (peer) => peer.reset),
  (child: Child, under: string) =>
    Effect.gen(function*() {
      const peer = yield* served(child, `${under}/echo`)
      peer.socket.end()
      yield* peer.closed
    }),
  (child: Child, under: string) =>
    Effect.gen(function*() {
      const peer = yield* served(child, `${under}/all`)
      yield* peer.send(frame(opcode.text, "plain", { masked: false }))
      yield* peer.until(() => peer.closeCode === 1002)
    }),
  (child: Child, under: string) => Effect.flatMap(rawOpen(child, `${under}/echo`), (peer) => peer.reset),
  (child: Child, under: string) =>
    Effect.gen(function*() {
      const peer = yield* raw(child.port)
      yield* peer.send(handshake(`${under}/echo`, { Origin: "https://evil.example" }))
      yield* peer.until(() => peer.status === 403)
    }),
  (child: Child, under: string) =>
    Effect.gen(function*() {
      const peer = yield* raw(child.port)
      yield* peer.send(handshake(`${under}/slow`))
      yield* peer.reset
    }),
  (child: Child, under: string) =>
    Effect.flatMap(served(child, `${under}/dies`), (peer) => peer.until(() => peer.closeCode === 1011))
]

/** All of them in turn, straight at the server and as routes. */
const connectAndLeave = (child: Child, count: number) =>
  Effect.forEach(
    Array.from({ length: count }, (_, n) => n),
    (n) => {
      const under = Math.floor(n / cycles.length) % 2 === 0 ? "" : "/routed"
      return Effect.scoped(cycles[n % cycles.length]?.(child, under) ?? Effect.void)
    },
    { concurrency: 64, discard: true }
  )

/** What must be the same whenever nobody is connected. */
const steady = ({ descriptors, fibers, listeners, resources, size }: Facts) => ({
  descriptors,
  fibers,
  listeners,
  resources,
  size
})

/** After finalizers and weak references too have been seen to. */
const settled = (child: Child) => Effect.zipRight(Effect.replicateEffect(child.factsAt("/gc"), 3), child.factsAt("/gc"))

it.scopedLive("ten thousand connections come and go, and leave nothing", () =>
  Effect.gen(function*() {
    const child = yield* spawnServer({ straight: true, routed: true, hub: { closeGrace: 500 } }, unbundled)
    // What is made once is made, and the tables of Node and Effect are as large as so many at once make them.
    yield* connectAndLeave(child, 800)
    yield* eventuallyEffect(Effect.map(child.facts, ({ size }) => size === 0))
    const first = yield* settled(child)
    const firstHeap = yield* child.heap
    yield* connectAndLeave(child, 10_000)
    yield* eventuallyEffect(
      Effect.map(child.facts, ({ acquired, released, size }) => size === 0 && acquired === released)
    )
    const last = yield* settled(child)
    const lastHeap = yield* child.heap
    assert.deepStrictEqual(steady(last), steady(first))
    assert.isAbove(last.acquired - first.acquired, 5000)
    assert.strictEqual(last.released, last.acquired)
    assert.strictEqual(last.releasedTwice, 0)
    // Of no kind of thing is there one more for every sixty-sixth connection. Node keeps a parser for each of the sixty-four
    // that may come at once.
    assert.deepStrictEqual(grown(firstHeap, lastHeap, 150), {})
    // For what is no thing of its own, such as numbers in an array. Tables of weak references keep the size that they
    // once had, and double: Effect's scheduler has one of fibers, which took a third of this at most.
    assert.isBelow(totalBytes(lastHeap) - totalBytes(firstHeap), 512 * 1024)
  }), 180_000)
