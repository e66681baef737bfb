/**
 * A client of one server, that lives as long as its connection.
 *
 * @since 1.0.0
 */
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { isIP } from "node:net"
import { createClient } from "redis"
import type { RedisConfig, RedisServer } from "./RedisOptions.js"

/** An attempt at several addresses of a host says why in its parts. */
const reasonOf = (error: unknown): string =>
  error instanceof AggregateError
    ? error.errors.map(reasonOf).join(", ")
    : error instanceof Error
    ? error.message
    : String(error)

/**
 * A server, or the way to it, failed.
 *
 * @internal
 */
export class RedisFailure extends Data.TaggedError("RedisFailure")<{ readonly cause: unknown }> {
  override get message() {
    return reasonOf(this.cause)
  }
}

/** @internal */
export const failure = (reason: string): RedisFailure => new RedisFailure({ cause: reason })

/** @internal */
export const attempt = <A>(promise: () => Promise<A>): Effect.Effect<A, RedisFailure> =>
  Effect.tryPromise({ try: promise, catch: (cause) => new RedisFailure({ cause }) })

/**
 * Opens no connection yet. Reconnecting is ours: an attempt must end in time, a server that is mute must be left, and
 * what was subscribed must be known to be subscribed again before anybody is told so.
 */
const clientOf = (server: RedisServer, config: RedisConfig) => {
  const { host, port } = server
  const socket = { host, port, connectTimeout: config.connectTimeout, reconnectStrategy: false } as const
  const servername = isIP(host) === 0 ? { servername: host } : {}
  return createClient({
    socket: server.tls ? { ...servername, ...config.tls, ...socket, tls: true } : socket,
    ...(server.username === undefined ? {} : { username: server.username }),
    ...(server.password === undefined ? {} : { password: Redacted.value(server.password) }),
    database: server.database,
    disableOfflineQueue: true,
    maintNotifications: "disabled",
    // Its own timeout ends when a command is written, and costs an AbortSignal for each.
    commandOptions: { timeout: 0 }
  })
}

/** @internal */
export type RedisClient = ReturnType<typeof clientOf>

/**
 * Closed with the scope. `lost` fails when the connection is no good any more.
 *
 * @internal
 */
export const openClient = (
  server: RedisServer,
  config: RedisConfig,
  lost: Deferred.Deferred<never, RedisFailure>,
  onClose: (client: RedisClient) => void = () => {}
): Effect.Effect<RedisClient, RedisFailure, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({
      try: () => {
        const client = clientOf(server, config)
        // Without a listener an error ends the process.
        client.on("error", (cause: unknown) => Deferred.unsafeDone(lost, Effect.fail(new RedisFailure({ cause }))))
        return client
      },
      catch: (cause) => new RedisFailure({ cause })
    }),
    (client) =>
      Effect.sync(() => {
        client.destroy()
        onClose(client)
      })
  )

/** @internal */
export const connect = (
  client: RedisClient,
  { connectTimeout }: RedisConfig,
  lost: Deferred.Deferred<never, RedisFailure>
) =>
  Effect.raceFirst(attempt(() => client.connect()), lost).pipe(
    Effect.timeoutFail({
      duration: connectTimeout,
      onTimeout: () => failure(`no connection within ${connectTimeout} ms`)
    })
  )

/**
 * Completes with the answer to a PING. A server that cannot write to its disk answers with an error, and goes on to
 * serve what changes nothing there, such as publications without history.
 *
 * @internal
 */
export const ping = (client: RedisClient): Promise<unknown> =>
  client.sendCommand(["PING"]).catch((error: unknown) => {
    if (!(error instanceof Error && error.message.startsWith("MISCONF"))) throw error
  })

/**
 * Asks a server one thing, over a connection of its own.
 *
 * @internal
 */
export const ask = (
  server: RedisServer,
  config: RedisConfig,
  args: ReadonlyArray<string>
): Effect.Effect<unknown, RedisFailure> =>
  Effect.scoped(Effect.gen(function*() {
    const lost = yield* Deferred.make<never, RedisFailure>()
    const client = yield* openClient(server, config, lost)
    yield* connect(client, config, lost)
    return yield* Effect.raceFirst(
      attempt((): Promise<unknown> => client.sendCommand(args)),
      lost
    ).pipe(
      Effect.timeoutFail({
        duration: config.commandTimeout,
        onTimeout: () => failure(`no answer within ${config.commandTimeout} ms`)
      })
    )
  }))
