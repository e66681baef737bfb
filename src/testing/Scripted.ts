/**
 * The model's own handler, which does as it is told.
 *
 * @since 1.0.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Connection } from "../core/Connection.js"
import type { Message } from "../core/Frame.js"
import type { Handler } from "../core/Handler.js"
import { Disconnect } from "../core/HubError.js"
import type { Client, Refusal } from "./Client.js"
import { show } from "./Expectation.js"
import type { Application, World } from "./World.js"

const say = (world: World, client: Client, connection: Connection, message: Message): Effect.Effect<void> =>
  Effect.map(connection.send(message), (accepted) => {
    if (!accepted) return
    const to = client.expected.greeted ? client.expected.after : client.expected.greeting
    world.offered(client, to, message, client.expected.isOpen || client.expected.isFlushed)
  })

const greeting = (world: World, client: Client): Handler<undefined, never, never> => (connection) =>
  Effect.gen(function*() {
    const topic = client.behaviour.joins
    yield* say(world, client, connection, world.message("hello"))
    if (topic !== undefined) {
      yield* connection.join(topic)
      if (!client.expected.isEnded) client.expected.topics.add(topic)
    }
    yield* client.greetingGate.await
    yield* say(world, client, connection, world.message("welcome"))
  })

const handler = (world: World, client: Client): Handler<undefined, Refusal | Disconnect, Scope.Scope> => {
  const handle = (connection: Connection) => (message: Message) =>
    Effect.gen(function*() {
      client.expected.handled.push(show(message))
      yield* client.handlerGate.await
      if (client.behaviour.echoes) yield* say(world, client, connection, world.message("echo"))
    })
  return (connection) =>
    Effect.zipRight(
      Effect.acquireRelease(
        Effect.sync(() => client.acquired++),
        () => Effect.sync(() => client.released++)
      ),
      Effect.raceFirst(connection.runForEach(handle(connection)), Deferred.await(client.fate)).pipe(
        Effect.onInterrupt(() => client.behaviour.cleanup > 0 ? Effect.sleep(client.behaviour.cleanup) : Effect.void)
      )
    )
}

/** @internal */
export const scripted = (
  world: World,
  client: Client
): Application<Refusal | Disconnect, Scope.Scope, never, never> => ({
  handler: handler(world, client),
  greeting: greeting(world, client),
  onFailure: () => new Disconnect({ code: 4400, reason: "told to fail" })
})
