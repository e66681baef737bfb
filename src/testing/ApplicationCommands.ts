/**
 * What the application does to a hub: it publishes, lets connections join and leave, kicks, drains and closes.
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
import type { Client } from "./Client.js"
import { anyone, type Command, forClient, kinds, topic } from "./Command.js"
import { expect, type Expectation } from "./Expectation.js"
import type { World } from "./World.js"

/** Offers a message to those who must, and to those who may, take it. Returns how many of each. */
const offer = (
  world: World,
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

/**
 * Between a publish and what the model makes of it nothing runs, so that the model sees what the hub saw. Many times, in
 * a turn each, it fills the socket of a peer that does not read.
 *
 * @internal
 */
export const publish = kinds(
  FastCheck.record({
    topic: FastCheck.option(topic, { nil: undefined, freq: 2 }),
    except: FastCheck.option(anyone, { nil: undefined, freq: 2 }),
    turns: FastCheck.constantFrom(0, 0, 4),
    key: FastCheck.option(FastCheck.constantFrom("k", "l"), { nil: undefined })
  }),
  ({ except, key, topic, turns }): Command => ({
    name: `${turns > 0 ? `${turns} times ` : ""}${topic === undefined ? "broadcast(" : `publish(${topic}`}${
      except === undefined ? "" : `, except ${except}`
    }${key === undefined ? "" : `, key ${key}`})`,
    run: (world) => {
      const once = Effect.suspend(() => {
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
      return turns === 0 ? once : Effect.repeatN(Effect.zipLeft(once, world.settle), turns - 1)
    }
  })
)

/** What the hub says of a connection resolves what the model could not know. */
const checkOpen = (client: Client, open: boolean, what: string): void => {
  if (uncertain(client)) return
  expect(open === client.expected.isOpen, "L4", () => `${what} of ${client.name} says ${open ? "open" : "ended"}`)
}

/** @internal */
export const send = forClient("send", (world, client) =>
  Effect.suspend(() => {
    const message = world.message("to")
    const id = client.connection?.id ?? 0
    const due = offer(world, (expected) => expected === client.expected, undefined, message)
    return Effect.map(
      world.hub.send(id, message),
      (sent) => between("L5", `a send to ${client.name}`, sent ? 1 : 0, due)
    )
  }))

/** @internal */
export const join = kinds(FastCheck.tuple(anyone, topic), ([at, topic]): Command => ({
  name: `join(${at}, ${topic})`,
  run: (world) => {
    const client = world.pick(at)
    if (client?.connection === undefined) return Effect.void
    return Effect.map(world.hub.join(client.connection.id, topic), (open) => {
      checkOpen(client, open, "join")
      if (open) client.expected.topics.add(topic)
    })
  }
}))

/** @internal */
export const leave = kinds(FastCheck.tuple(anyone, topic), ([at, topic]): Command => ({
  name: `leave(${at}, ${topic})`,
  run: (world) => {
    const client = world.pick(at)
    if (client?.connection === undefined) return Effect.void
    return Effect.map(world.hub.leave(client.connection.id, topic), (open) => {
      checkOpen(client, open, "leave")
      client.expected.topics.delete(topic)
    })
  }
}))

/** @internal */
export const kick = kinds(FastCheck.tuple(anyone, FastCheck.constantFrom(1000, 4002)), ([at, code]): Command => ({
  name: `kick(${at}, ${code})`,
  run: (world) => {
    const client = world.pick(at)
    if (client?.connection === undefined) return Effect.void
    return Effect.map(world.hub.close(client.connection.id, { code }), (open) => {
      checkOpen(client, open, "close")
      if (open) client.expected.endedBy({ by: "server", code }, world.clock.now, client.name)
    })
  }
}))

/** @internal */
export const kickAll: FastCheck.Arbitrary<Command> = FastCheck.constant({
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

/** @internal */
export const interrupt = forClient("interrupt", (world, client) => {
  if (client.serving === undefined) return Effect.void
  if (client.serving.unsafePoll() === null) client.expected.endSoon({ by: "interrupt", code: CloseCode.goingAway })
  return Fiber.interruptFork(client.serving)
})

/** @internal */
export const start: FastCheck.Arbitrary<Command> = FastCheck.constant({
  name: "startHub",
  run: (world) =>
    Effect.suspend(() => {
      if (world.state === "Starting") world.state = "Open"
      return Effect.asVoid(Deferred.succeed(world.ready, undefined))
    })
})

const draining = (world: World): void => {
  if (world.state === "Closed") return
  world.state = "Draining"
  for (const client of world.members) client.expected.endSoon({ by: "drain", code: CloseCode.goingAway })
}

/** @internal */
export const drain: FastCheck.Arbitrary<Command> = FastCheck.constant({
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
