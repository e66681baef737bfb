import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Facts } from "./fixtures/protocol.js"
import {
  type Child,
  closePayload,
  eventually,
  eventuallyEffect,
  frame,
  handshake,
  opcode,
  raw,
  rawOpen,
  spawnServer
} from "./support.js"

const served = (child: Child, path: string) =>
  Effect.gen(function*() {
    const peer = yield* rawOpen(child, path)
    yield* peer.send(frame(opcode.text, "hello"))
    yield* eventually(() => peer.frames.length > 0)
    return peer
  })

/** The ways to come and go. */
const cycles = [
  (child: Child) =>
    Effect.gen(function*() {
      const peer = yield* served(child, "/echo")
      yield* peer.send(frame(opcode.close, closePayload(1000)))
      yield* eventually(() => peer.closeCode === 1000)
    }),
  (child: Child) => Effect.flatMap(served(child, "/all"), (peer) => peer.reset),
  (child: Child) =>
    Effect.gen(function*() {
      const peer = yield* served(child, "/echo")
      peer.socket.end()
      yield* peer.closed
    }),
  (child: Child) =>
    Effect.gen(function*() {
      const peer = yield* served(child, "/all")
      yield* peer.send(frame(opcode.text, "plain", { masked: false }))
      yield* eventually(() => peer.closeCode === 1002)
    }),
  (child: Child) => Effect.flatMap(rawOpen(child, "/echo"), (peer) => peer.reset),
  (child: Child) =>
    Effect.gen(function*() {
      const peer = yield* raw(child.port)
      yield* peer.send(handshake("/echo", { Origin: "https://evil.example" }))
      yield* eventually(() => peer.status === 403)
    }),
  (child: Child) =>
    Effect.gen(function*() {
      const peer = yield* raw(child.port)
      yield* peer.send(handshake("/slow"))
      yield* peer.reset
    }),
  (child: Child) => Effect.flatMap(served(child, "/dies"), (peer) => eventually(() => peer.closeCode === 1011))
]

const connectAndLeave = (child: Child, count: number) =>
  Effect.forEach(
    Array.from({ length: count }, (_, n) => cycles[n % cycles.length] ?? cycles[0]),
    (cycle) => Effect.scoped(cycle?.(child) ?? Effect.void),
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

it.scopedLive("10,000 connections come and go, and leave nothing", () =>
  Effect.gen(function*() {
    const child = yield* spawnServer({ hub: { closeGrace: 500 } })
    // Warm: what is made once, is made, and the code is compiled.
    yield* connectAndLeave(child, 2500)
    yield* eventuallyEffect(Effect.map(child.facts, ({ size }) => size === 0))
    const first = yield* settled(child)
    for (let round = 0; round < 4; round++) yield* connectAndLeave(child, 2500)
    yield* eventuallyEffect(
      Effect.map(child.facts, ({ acquired, released, size }) => size === 0 && acquired === released)
    )
    const last = yield* settled(child)
    assert.deepStrictEqual(steady(last), steady(first))
    assert.isAbove(last.acquired - first.acquired, 4000)
    assert.strictEqual(last.released, last.acquired)
    assert.strictEqual(last.releasedTwice, 0)
    // 2 MB is 200 bytes for each connection: less than a scope, a fiber or a socket takes, and more than the compiler's own.
    assert.isBelow(last.heap - first.heap, 2 * 1024 * 1024)
  }), 180_000)
