/** The sessions of that hub: who sees which terminals, who is told of the first to come and the last to leave. */
import { Effect, ExecutionStrategy, Exit, Option, RcMap, Schema, Scope } from "effect"
import { type Connection, Hub } from "effect-ws-hub"

const size = Schema.Int.pipe(Schema.positive())

const Command = Schema.parseJson(Schema.Union(
  Schema.Struct({ type: Schema.Literal("subscribe"), session: Schema.String }),
  Schema.Struct({ type: Schema.Literal("resize"), cols: size, rows: size })
))

const everySession = "every session"
const topicOf = (session: string): string => `session ${session}`

export type Sessions = Effect.Effect.Success<typeof make>

export const make = Effect.gen(function*() {
  const hub = yield* Hub.Hub
  const told: Array<string> = []
  const typed: Array<Uint8Array> = []

  const attached = yield* RcMap.make({
    lookup: (session: string) =>
      Effect.acquireRelease(
        Effect.sync(() => told.push(`attach ${session}`)),
        () => Effect.sync(() => told.push(`detach ${session}`))
      )
  })

  return {
    told,
    typed,
    /** What a terminal shows, as it is. */
    data: (session: string, bytes: Uint8Array) =>
      Effect.zipWith(
        hub.publish(everySession, bytes),
        hub.publish(topicOf(session), bytes),
        (all, some) => all + some
      ),
    handler: (connection: Connection<unknown>) =>
      Effect.gen(function*() {
        const scope = yield* Effect.scope
        const fork = Scope.fork(scope, ExecutionStrategy.sequential)
        let chosen = yield* fork
        const see = (topic: string) =>
          Effect.acquireRelease(connection.join(topic), () => connection.leave(topic)).pipe(Scope.extend(chosen))
        const choose = (session: string) =>
          Effect.zipRight(see(topicOf(session)), Scope.extend(RcMap.get(attached, session), chosen))

        yield* see(everySession)
        yield* connection.runForEach((message) =>
          Effect.gen(function*() {
            if (typeof message !== "string") return typed.push(message)
            const command = Option.getOrUndefined(Schema.decodeUnknownOption(Command)(message))
            if (command === undefined) return yield* connection.send("invalid message format")
            if (command.type === "resize") return told.push(`resize ${command.cols} ${command.rows}`)
            yield* connection.leave(everySession)
            if (command.session !== "") return yield* choose(command.session)
            yield* Scope.close(chosen, Exit.void)
            chosen = yield* fork
            return yield* see(everySession)
          })
        )
      })
  }
})
