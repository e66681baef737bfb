/** What `send` and `flush` tell a handler, and when. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Connection, Hub } from "effect-ws-hub"
import { HubTest, type TestTransport } from "effect-ws-hub/testing"

const { settle } = HubTest

/** A message whose frame has 500 bytes. */
const message = (number: number) => String(number).padEnd(496)

describe("flush", () => {
  it.scoped("L8: a handler that sends far more than its outbox holds, at the pace of its peer, loses nothing", () =>
    Effect.gen(function*() {
      const accepted: Array<boolean> = []
      const messages = Array.from({ length: 200 }, (_, number) => message(number))
      const { connection, peer } = yield* HubTest.connect({
        highWaterMark: 1,
        handler: (connection) =>
          Effect.forEach(messages, (one) =>
            Effect.zipRight(
              Effect.map(connection.send(one), (was) => accepted.push(was)),
              connection.flush
            ))
      })
      yield* peer.pauseReading
      yield* settle
      let most = 0
      let reads = 0
      while ((yield* peer.received).length < messages.length) {
        most = Math.max(most, accepted.length - (yield* peer.received).length)
        reads++
        yield* Effect.all([peer.resumeReading, peer.pauseReading, settle], { discard: true })
      }
      yield* peer.resumeReading
      assert.deepStrictEqual(yield* peer.received, messages)
      assert.isTrue(accepted.every((was) => was))
      // One at a time.
      assert.strictEqual(most, 1)
      assert.strictEqual(reads, messages.length)
      assert.deepInclude(yield* connection.closed, { by: "handler", code: 1000 })
    }).pipe(Effect.provide(HubTest.layer({ outboxBytes: 2000 }))))

  it.scoped("writes what was sent in this turn, and completes at once if the socket takes it", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* HubTest.connect()
      yield* settle
      yield* connection.send("now")
      assert.deepStrictEqual(yield* peer.received, [])
      yield* connection.flush
      assert.deepStrictEqual(yield* peer.received, ["now"])
      yield* connection.flush
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("completes when the peer is gone", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { connection, peer } = yield* HubTest.connect({
        highWaterMark: 1,
        handler: (connection) =>
          Effect.gen(function*() {
            yield* connection.send("to nobody")
            yield* connection.flush
            log.push("flushed")
            yield* connection.flush
            log.push("flushed again")
          })
      })
      yield* peer.pauseReading
      yield* settle
      assert.deepStrictEqual(log, [])
      yield* peer.reset
      yield* settle
      assert.deepStrictEqual(log, ["flushed", "flushed again"])
      yield* connection.closed
      yield* connection.flush
    }).pipe(Effect.provide(HubTest.layer())))
})

describe("send", () => {
  /** Says of what is sent by a handler that takes its time to end whether it was accepted. */
  const late = (sent: Array<boolean>) => (connection: Connection) =>
    Effect.ensuring(
      connection.discard,
      Effect.zipRight(settle, Effect.map(connection.send("late"), (was) => sent.push(was)))
    )

  for (
    const [how, leave] of [
      ["has reset", (peer: TestTransport.Peer) => peer.reset],
      ["has closed", (peer: TestTransport.Peer) => peer.close(1000)],
      ["broke the protocol", (peer: TestTransport.Peer) => peer.protocolError()]
    ] as const
  ) {
    it.scoped(`is false for a peer that ${how}, while the handler finishes`, () =>
      Effect.gen(function*() {
        const sent: Array<boolean> = []
        const { connection, peer } = yield* HubTest.connect({ handler: late(sent) })
        yield* settle
        yield* leave(peer)
        yield* connection.closed
        assert.deepStrictEqual(sent, [false])
        assert.deepStrictEqual(yield* peer.received, [])
      }).pipe(Effect.provide(HubTest.layer())))
  }

  it.scoped("is true between an end that was decided here and the close frame, and false after that", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      for (const end of [(connection: Connection) => connection.close(), () => hub.drain]) {
        const sent: Array<boolean> = []
        const { connection, peer } = yield* HubTest.connect({ handler: late(sent) })
        yield* settle
        yield* end(connection)
        yield* connection.closed
        assert.deepStrictEqual(sent, [true])
        assert.deepStrictEqual(yield* peer.received, ["late"])
        assert.isFalse(yield* connection.send("later"))
      }
    }).pipe(Effect.provide(HubTest.layer())))
})
