/**
 * The commands of the model: what peers, handlers, the application and time can do to a hub.
 *
 * @since 1.0.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { CloseCode } from "../core/CloseReason.js"
import type { Connection } from "../core/Connection.js"
import type { Message } from "../core/Frame.js"
import { HubUnavailable, TooManyConnections } from "../core/HubError.js"
import type { Client, Fate } from "./Client.js"
import { expect, type Expectation } from "./Expectation.js"
import type { World } from "./World.js"

/**
 * One command: what it does, and whether the next follows before all has settled.
 *
 * @internal
 */
export interface Command {
  readonly name: string
  readonly run: <R>(world: World<R>) => Effect.Effect<void>
}

const kinds = <A>(arbitrary: FastCheck.Arbitrary<A>, make: (a: A) => Command): FastCheck.Arbitrary<Command> =>
  arbitrary.map(make)

const anyone = FastCheck.nat(7)
const topic = FastCheck.constantFrom("a", "b", "c")

/** A command for one connection, if there is one. */
const forOne = (name: string, run: <R>(world: World<R>, client: Client) => Effect.Effect<void>) =>
  kinds(anyone, (at) => ({
    name: `${name}(${at})`,
    run: (world) => {
      const client = world.pick(at)
      return client === undefined ? Effect.void : run(world, client)
    }
  }))

const connect = kinds(
  FastCheck.record({
    serve: FastCheck.boolean(),
    slow: FastCheck.boolean(),
    joins: FastCheck.option(topic, { nil: undefined }),
    echoes: FastCheck.boolean(),
    cleanup: FastCheck.constantFrom(0, 0, 200),
    overshoot: FastCheck.nat(2)
  }),
  (behaviour): Command => ({
    name: `connect(${
      [
        behaviour.serve ? "serve" : "accept",
        behaviour.slow ? "slow" : "",
        behaviour.joins === undefined ? "" : `joins ${behaviour.joins}`,
        behaviour.echoes ? "echoes" : "",
        behaviour.cleanup > 0 ? `cleanup ${behaviour.cleanup}` : "",
        behaviour.overshoot > 0 ? `overshoot ${behaviour.overshoot}` : ""
      ].filter((word) => word !== "").join(", ")
    })`,
    run: (world) =>
      Effect.gen(function*() {
        const state = yield* world.hub.state
        const full = (yield* world.hub.size) >= world.setup.limit
        const exit = yield* Effect.exit(Effect.provide(world.connect(behaviour), world.runtime))
        if (Exit.isSuccess(exit)) {
          expect(state === "Open" && !full, "L10", () => `accepted while ${state}${full ? " and full" : ""}`)
          return
        }
        const error = exit.cause._tag === "Fail" ? exit.cause.error : exit.cause
        expect(
          state === "Open" ? full && error instanceof TooManyConnections : error instanceof HubUnavailable,
          "L10",
          () => `refused while ${state}: ${String(error)}`
        )
        if (error instanceof HubUnavailable) {
          expect(error.state === state, "L10", () => `refused as ${error.state} while ${state}`)
        }
      })
  })
)

/** Offers a message to those who must, and to those who may, take it. Returns how many of each. */
const offer = <R>(
  world: World<R>,
  to: (expected: Expectation) => boolean,
  except: Client | undefined,
  message: Message
) => {
  const open = world.members.filter((client) => client !== except && !client.expected.isEnded && to(client.expected))
  const must = open.filter((client) => client.expected.isOpen && world.isSafe(client)).length
  for (const { expected, client } of open.map((client) => ({ client, expected: client.expected }))) {
    world.offered(client, expected.greeted ? expected.after : expected.held, message, expected.isOpen)
  }
  return { must, may: open.length }
}

const between = (law: string, what: string, count: number, { may, must }: { must: number; may: number }) =>
  expect(
    count >= must && count <= may,
    law,
    () => `${what} reached ${count}, not ${must}${may > must ? ` to ${may}` : ""}`
  )

const uncertain = (client: Client) => !client.expected.isOpen && !client.expected.isEnded

/** Between a publish and what the model makes of it nothing runs, so that the model sees what the hub saw. */
const publish = kinds(
  FastCheck.record({
    topic: FastCheck.option(topic, { nil: undefined }),
    except: FastCheck.option(anyone, { nil: undefined }),
    key: FastCheck.option(FastCheck.constantFrom("k", "l"), { nil: undefined })
  }),
  ({ except, key, topic }): Command => ({
    name: `${topic === undefined ? "broadcast(" : `publish(${topic}`}${
      except === undefined ? "" : `, except ${except}`
    }${key === undefined ? "" : `, key ${key}`})`,
    run: (world) =>
      Effect.suspend(() => {
        const message = world.message("news")
        const out = except === undefined ? undefined : world.pick(except)
        const due = offer(world, (expected) => topic === undefined || expected.topics.has(topic), out, message)
        const exceptConnection: Connection | undefined = out?.connection
        return Effect.map(
          topic === undefined
            ? world.hub.broadcast(message, { except: exceptConnection, key })
            : world.hub.publish(topic, message, { except: exceptConnection, key }),
          (count) => between("L5", topic === undefined ? "a broadcast" : `a publish to ${topic}`, count, due)
        )
      })
  })
)

/** What the hub says of a connection resolves what the model could not know. */
const checkOpen = (client: Client, open: boolean, now: number, what: string): void => {
  if (uncertain(client)) return
  expect(open === client.expected.isOpen, "L4", () => `${what} of ${client.name} says ${open ? "open" : "ended"}`)
  void now
}

const send = forOne("send", (world, client) =>
  Effect.suspend(() => {
    const message = world.message("to")
    const id = client.connection?.id ?? 0
    const due = offer(world, (expected) => expected === client.expected, undefined, message)
    return Effect.map(
      world.hub.send(id, message),
      (sent) => between("L5", `a send to ${client.name}`, sent ? 1 : 0, due)
    )
  }))

const join = kinds(FastCheck.tuple(anyone, topic), ([at, topic]): Command => ({
  name: `join(${at}, ${topic})`,
  run: (world) => {
    const client = world.pick(at)
    if (client?.connection === undefined) return Effect.void
    return Effect.map(world.hub.join(client.connection.id, topic), (open) => {
      checkOpen(client, open, world.clock.now, "join")
      if (open) client.expected.topics.add(topic)
    })
  }
}))

const leave = kinds(FastCheck.tuple(anyone, topic), ([at, topic]): Command => ({
  name: `leave(${at}, ${topic})`,
  run: (world) => {
    const client = world.pick(at)
    if (client?.connection === undefined) return Effect.void
    return Effect.map(world.hub.leave(client.connection.id, topic), (open) => {
      checkOpen(client, open, world.clock.now, "leave")
      client.expected.topics.delete(topic)
    })
  }
}))

const kick = kinds(FastCheck.tuple(anyone, FastCheck.constantFrom(1000, 4002)), ([at, code]): Command => ({
  name: `kick(${at}, ${code})`,
  run: (world) => {
    const client = world.pick(at)
    if (client?.connection === undefined) return Effect.void
    return Effect.map(world.hub.close(client.connection.id, { code }), (open) => {
      checkOpen(client, open, world.clock.now, "close")
      if (open) client.expected.endedBy({ by: "server", code }, world.clock.now, client.name)
    })
  }
}))

const kickAll: FastCheck.Arbitrary<Command> = FastCheck.constant({
  name: "kickAll",
  run: (world) =>
    Effect.suspend(() => {
      const open = world.members.filter((client) => client.expected.isOpen)
      const maybe = world.members.filter(uncertain)
      for (const client of open) client.expected.endedBy({ by: "server", code: 4003 }, world.clock.now, client.name)
      for (const client of maybe) client.expected.end({ by: "server", code: 4003 }, world.clock.now)
      return Effect.map(
        world.hub.closeAll({ code: 4003 }),
        (count) => between("L4", "closeAll", count, { must: open.length, may: open.length + maybe.length })
      )
    })
})

const interrupt = forOne("interrupt", (world, client) => {
  if (client.serving === undefined) return Effect.void
  if (client.serving.unsafePoll() === null) client.expected.endSoon({ by: "interrupt", code: CloseCode.goingAway })
  return Fiber.interruptFork(client.serving)
})

const receive = kinds(FastCheck.tuple(anyone, FastCheck.integer({ min: 1, max: 4 })), ([at, times]): Command => ({
  name: `receive(${at}, ${times} times)`,
  run: (world) => {
    const client = world.pick(at)
    return client === undefined
      ? Effect.void
      : Effect.repeatN(Effect.suspend(() => client.peer.send(world.message("in"))), times - 1)
  }
}))

const pauseReading = forOne("pauseReading", (_, client) => {
  client.reads = client.keepsUp = false
  client.wasDeaf = true
  return client.peer.pauseReading
})

const resumeReading = forOne("resumeReading", (_, client) => {
  client.reads = true
  return client.peer.resumeReading
})

const peerClose = kinds(
  FastCheck.tuple(anyone, FastCheck.constantFrom(1000, 1001, 4005, undefined)),
  ([at, code]): Command => ({
    name: `peerClose(${at}, ${code})`,
    run: (world) => world.pick(at)?.peer.close(code, code === undefined ? undefined : "bye") ?? Effect.void
  })
)

const reset = forOne("reset", (_, client) => client.peer.reset)
const protocolError = forOne("protocolError", (_, client) => client.peer.protocolError(CloseCode.invalidPayload))
const ignorePings = forOne("ignorePings", (_, client) => {
  client.pongs = false
  return client.peer.answerPings(false)
})
const ignoreClose = forOne("ignoreClose", (_, client) => {
  client.mute = true
  return client.peer.answerClose(false)
})

const finishGreeting = forOne("finishGreeting", (_, client) => client.greetingGate.open)
const stall = forOne("stallHandler", (_, client) => {
  client.stalled = client.wasStalled = true
  return client.handlerGate.close
})
const unstall = forOne("resumeHandler", (_, client) => {
  client.stalled = false
  return client.handlerGate.open
})
const tell = kinds(
  FastCheck.tuple(anyone, FastCheck.constantFrom<Fate>("end", "fail", "disconnect", "die")),
  ([at, fate]): Command => ({
    name: `handler(${at}, ${fate})`,
    run: (world) =>
      Effect.sync(() => {
        const client = world.pick(at)
        if (client !== undefined) world.tell(client, fate)
      })
  })
)

const start: FastCheck.Arbitrary<Command> = FastCheck.constant({
  name: "startHub",
  run: (world) =>
    Effect.suspend(() => {
      if (world.state === "Starting") world.state = "Open"
      return Effect.asVoid(Deferred.succeed(world.ready, undefined))
    })
})

const draining = <R>(world: World<R>): void => {
  if (world.state === "Closed") return
  world.state = "Draining"
  world.drainedAt ??= world.clock.now
  for (const client of world.members) client.expected.endSoon({ by: "drain", code: CloseCode.goingAway })
}

const drain: FastCheck.Arbitrary<Command> = FastCheck.constant({
  name: "drain",
  run: (world) =>
    Effect.sync(() => {
      draining(world)
      world.drains.push(world.fork(world.hub.drain))
    })
})

/** @internal */
export const closeHub: Command = {
  name: "closeHub",
  run: (world) =>
    Effect.sync(() => {
      draining(world)
      world.closing ??= world.fork(Scope.close(world.scope, Exit.void))
    })
}

/** Which connections a heartbeat may end while the clock moves is known; when exactly, is not. */
const advance = kinds(FastCheck.constantFrom(50, 150, 400, 1200, 3000), (millis): Command => ({
  name: `advance(${millis} ms)`,
  run: (world) =>
    Effect.suspend(() => {
      for (const client of world.members) {
        if (!client.pongs || !client.reads) client.expected.mayEnd({ by: "heartbeat", code: CloseCode.timeout })
      }
      return world.clock.advance(millis, world.settle)
    })
}))

/**
 * What the world does to a handler, whosever it is.
 *
 * @internal
 */
export const outside: ReadonlyArray<FastCheck.WeightedArbitrary<Command>> = [
  { weight: 8, arbitrary: connect },
  { weight: 2, arbitrary: pauseReading },
  { weight: 2, arbitrary: resumeReading },
  { weight: 2, arbitrary: peerClose },
  { weight: 2, arbitrary: reset },
  { weight: 1, arbitrary: protocolError },
  { weight: 1, arbitrary: ignorePings },
  { weight: 1, arbitrary: ignoreClose },
  { weight: 2, arbitrary: kick },
  { weight: 1, arbitrary: interrupt },
  { weight: 4, arbitrary: advance },
  { weight: 3, arbitrary: start }
]

/** What ends a run, as a rule: seldom, so that there is something to end. */
const ends: ReadonlyArray<FastCheck.WeightedArbitrary<Command>> = [
  { weight: 1, arbitrary: kickAll },
  { weight: 1, arbitrary: drain },
  { weight: 1, arbitrary: FastCheck.constant(closeHub) }
]

/** What the application and the model's own handler do besides. */
const inside: ReadonlyArray<FastCheck.WeightedArbitrary<Command>> = [
  { weight: 4, arbitrary: receive },
  { weight: 8, arbitrary: publish },
  { weight: 3, arbitrary: send },
  { weight: 5, arbitrary: join },
  { weight: 2, arbitrary: leave },
  { weight: 4, arbitrary: finishGreeting },
  { weight: 2, arbitrary: stall },
  { weight: 2, arbitrary: unstall },
  { weight: 2, arbitrary: tell }
]

/**
 * All commands that the model can predict, with its own handler.
 *
 * @internal
 */
export const scripted: FastCheck.Arbitrary<Command> = FastCheck.oneof(...outside, ...inside, ...ends)

/**
 * The commands for an application's handler, and the messages that its peers send.
 *
 * @internal
 */
export const applied = (messages: FastCheck.Arbitrary<Message>): FastCheck.Arbitrary<Command> =>
  FastCheck.oneof(...outside, ...ends, {
    weight: 12,
    arbitrary: kinds(FastCheck.tuple(anyone, messages), ([at, message]): Command => ({
      name: `receive(${at}, ${typeof message === "string" ? JSON.stringify(message) : `${message.length} bytes`})`,
      run: (world) => world.pick(at)?.peer.send(message) ?? Effect.void
    }))
  })
