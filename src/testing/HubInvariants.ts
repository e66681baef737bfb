/**
 * What holds of a hub whenever all has settled, and when nothing is left of it.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { CloseBy } from "../core/CloseReason.js"
import type { HubState } from "../core/Hub.js"
import type { Client } from "./Client.js"
import { checkSequence, expect, show } from "./Expectation.js"
import { limits, tick } from "./Setup.js"
import type { World } from "./World.js"

const order: ReadonlyArray<HubState> = ["Starting", "Open", "Draining", "Closed"]

/** Ends after which the handler may finish with what was received. */
const graceful = new Set<CloseBy>(["peer", "transport", "protocol", "heartbeat", "slow-consumer", "drain"])

/** Ends that the peer makes. */
const byPeer = new Set<CloseBy>(["peer", "transport", "protocol"])

/** Longest that a connection may take to close: its handler, its interruption, its outbox, its peer, its cleanup. */
const longestClose = (client: Client) => 4 * limits.closeGrace + client.behaviour.cleanup + tick

/** The hub says whether a connection is open. An application may have ended it in ways that the model does not see. */
const settleEnd = (world: World, client: Client, open: boolean): void => {
  if (world.application !== undefined) {
    for (const by of ["server", "interrupt", "slow-consumer", "rate-limit"] as const) client.expected.mayEnd({ by })
  }
  client.expected.settle(open, world.clock.now, client.name)
}

/** Events come once each and in order, and tell of each connection what is expected of it. */
const checkEvents = (world: World): Effect.Effect<void> =>
  Effect.sync(() => {
    const events = world.events.splice(0)
    for (const event of events) {
      if (event._tag === "StateChanged") {
        expect(order.indexOf(event.state) >= order.indexOf(world.lastState), "L6", () =>
          `from ${world.lastState} to ${event.state}`)
        world.lastState = event.state
      }
      if (event._tag !== "Opened" && event._tag !== "Closed") {
        continue
      }
      const client = world.members.find((client) =>
        client.connection === event.connection
      )
      expect(client !== undefined, "L3", () => `${event._tag} of a connection that was not accepted`)
      if (client === undefined) continue
      if (event._tag === "Opened") {
        expect(++client.opened === 1 && client.closed === 0, "L5", () => `${client.name} opened out of order`)
      } else {
        expect(++client.closed === 1 && client.opened === 1, "L6", () => `${client.name} closed out of order`)
        settleEnd(world, client, false)
        client.expected.checkReason(event.reason, client.name)
        client.reason = event.reason
      }
    }
  })

/** The registry, the topics and the state are those of the model. */
const checkHub = (world: World): Effect.Effect<void> =>
  Effect.gen(function*() {
    const state = yield* world.hub.state
    const left = world.members.filter((client) => client.closed === 0)
    if (world.state === "Draining" && world.closing !== undefined && left.length === 0) world.state = "Closed"
    expect(state === world.state, "L9", () => `the hub is ${state}, not ${world.state}`)
    const registered = (yield* world.hub.connections).map((connection) => connection.id)
    const ids = left.map((client) => client.connection?.id)
    expect(registered.join() === ids.join(), "L3", () =>
      `registered: ${registered.join()}; with an open scope: ${ids.join()}`)
    expect((yield* world.hub.size) === ids.length, "L3", () =>
      `the size is not ${ids.length}`)
    if (world.application !== undefined) {
      return
    }
    const names = [...yield* world.hub.topics].sort()
    const expected = [...new Set(world.members.flatMap((client) => [...client.expected.topics]))].sort()
    expect(names.join() === expected.join(), "L2", () =>
      `topics ${names.join()}, not ${expected.join()}`)
    for (const name of expected) {
      const members = (yield* world.hub.members(name)).map((connection) => connection.id).sort()
      const due = world.members.filter((client) => client.expected.topics.has(name)).map((client) =>
        client.connection?.id
      ).sort()
      expect(members.join() === due.join(), "L2", () => `in ${name}: ${members.join()}, not ${due.join()}`)
    }
  })

/** Whether something gives a connection that has ended a right to take its time. */
const mayTakeTime = (client: Client): boolean =>
  client.stalled || !client.reads || client.mute || client.behaviour.cleanup > 0 ||
  !client.expected.greeted && client.behaviour.slow

const checkTime = (world: World, client: Client): Effect.Effect<void> =>
  Effect.sync(() => {
    const { now } = world.clock
    const { endedAt, isEnded } = client.expected
    if (isEnded && client.closed === 0) {
      const late = now - (endedAt ?? now)
      const may = world.application !== undefined || mayTakeTime(client)
      expect(may, "L6", () => `${client.name} has ended, and does not close`)
      expect(late < longestClose(client), "L9", () => `${client.name} has not closed ${late} ms after its end`)
    }
    if (!isEnded && !client.pongs && !client.wasPaused) {
      const silent = now - client.heardAt
      const most = limits.heartbeatInterval + limits.heartbeatTimeout + 4 * tick
      expect(silent <= most, "L8", () => `${client.name} is open after ${silent} ms of silence`)
    }
  })

/** What the peer saw, what the handler saw, and what was released. */
const checkClient = (world: World, client: Client): Effect.Effect<void> =>
  Effect.gen(function*() {
    const { expected, name } = client
    const counters = yield* client.peer.counters
    client.wasPaused ||= counters.paused > 0
    if (client.closed === 0 && client.connection !== undefined && !expected.isEnded) {
      settleEnd(world, client, yield* world.hub.leave(client.connection.id, "no such topic"))
    }
    const closed = client.closed === 1
    if (client.reads && !expected.isEnded) client.keepsUp = true
    expect(counters.opened <= 1, "L1", () => `${name} was opened ${counters.opened} times`)
    expect(counters.closed <= 1 && counters.closeFrames <= 1, "L6", () => `${name} was sent more than one close frame`)
    expect(counters.writesAfterClose === 0, "L6", () => `${name} was written to after the close frame`)
    expect(counters.malformed === 0, "L7", () => `${name} got ${counters.malformed} malformed bytes`)
    expect(client.finalized === (closed ? 1 : 0), "L6", () => `${name}: ${client.finalized} runs of its finalizers`)
    expect(!closed || client.goneAtFinalizer, "L6", () => `${name}: its scope closed before its socket was gone`)
    expect(!client.finalizedEarly, "L6", () => `${name}: its scope closed before its handler had ended`)
    expect(client.released === (closed ? client.acquired : 0), "L2", () => `${name}: its handler's resource`)
    expect(counters.listeners === (closed ? 0 : counters.listeners), "L9", () => `${name}: a listener is left`)
    if (client.reason !== undefined) {
      const told = client.reasons.map((reason) => `${reason.by} ${reason.code}`)
      const due = `${client.reason.by} ${client.reason.code}`
      expect(told.length === 1 && told[0] === due, "L4", () => `${name}: closed tells ${told.join()}, the event ${due}`)
      yield* checkServe(client)
      yield* checkCloseFrame(client)
    }
    if (world.application === undefined) yield* checkMessages(client)
    yield* checkTime(world, client)
  })

/** `serve` yields the reason too, unless it was interrupted. */
const checkServe = (client: Client): Effect.Effect<void> =>
  Effect.sync(() => {
    if (client.serving === undefined) return
    const exit = client.serving.unsafePoll()
    expect(exit !== null, "L2", () => `${client.name} has closed, and serve has not returned`)
    if (exit === null || Exit.isFailure(exit)) return
    expect(exit.value === client.reason, "L4", () => `${client.name}: serve yields another reason`)
  })

/** A peer that could be told was told the reason that the hub tells. */
const checkCloseFrame = (client: Client): Effect.Effect<void> =>
  Effect.gen(function*() {
    const { reason } = client
    if (reason === undefined || client.wasDeaf || client.left && !byPeer.has(reason.by)) return
    const { code } = yield* client.peer.closed
    expect(code === reason.code, "L6", () =>
      `${client.name} was told ${code}, and the reason is ${reason.by} ${reason.code}`)
  })

const checkMessages = (client: Client): Effect.Effect<void> =>
  Effect.gen(function*() {
    const { expected, name, reason } = client
    const reading = client.reads &&
      (!expected.isEnded || reason !== undefined && expected.isFlushed && !client.wasDeaf && !client.left)
    checkSequence("L7", `to ${name}`, expected.due, (yield* client.peer.received).map(show), reading)
    const handling = expected.greeted && !client.wasStalled && !client.told &&
      (!expected.isEnded || reason !== undefined && graceful.has(reason.by))
    checkSequence("L5", `from ${name}`, expected.arrived, expected.handled, handling)
    expect(expected.greeted || expected.handled.length === 0, "L5", () => `${name}: a message before the greeting`)
  })

/**
 * Checks everything that holds when all has settled.
 *
 * @internal
 */
export const check = (world: World): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* checkEvents(world)
    for (const client of world.members) yield* checkClient(world, client)
    yield* checkHub(world)
    const size = yield* world.hub.size
    for (const drained of world.drains) {
      const done = drained.unsafePoll() !== null
      expect(done === (size === 0), "L9", () => done ? "drain returned too early" : "drain has not returned")
    }
  })

/**
 * Checks that nothing is left once the hub's scope has closed.
 *
 * @internal
 */
export const checkNothingLeft = (world: World, fibers: number): Effect.Effect<void> =>
  Effect.gen(function*() {
    expect((yield* world.hub.size) === 0, "L9", () => "connections are left")
    expect((yield* world.hub.topics).length === 0, "L9", () => "topics are left")
    expect((yield* world.hub.state) === "Closed", "L9", () => "the hub is not closed")
    for (const client of world.clients) {
      expect(
        yield* client.peer.isGone,
        "L9",
        () => `the socket of ${client.name} is left`
      )
      expect(client.handlerStarts === client.handlerExits, "L9", () => `the handler of ${client.name} is left`)
      expect(client.refused || client.closed === 1, "L9", () => `no Closed event of ${client.name}`)
    }
    expect(world.lastState === "Closed", "L9", () => `the last state told is ${world.lastState}`)
    expect(world.eventsEnded.unsafePoll() !== null, "L9", () => "the stream of events has not ended")
    expect(world.clock.pending === 0, "L9", () => `${world.clock.pending} timers are left`)
    expect(fibers === 0, "L9", () => `${fibers} fibers are left`)
  })
