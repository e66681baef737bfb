/**
 * What an application does for the clients of a typed channel, as a layer.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { Disconnect } from "../core/HubError.js"
import type { Grant } from "./Authenticator.js"
import type { Channel } from "./ChannelDefinition.js"
import { type Caller, Channels } from "./Channels.js"
import { isFault } from "./Faults.js"
import * as HandlerRuntime from "./HandlerRuntime.js"
import { errors, ProtocolError } from "./ProtocolCode.js"

/**
 * What a client asks of a channel: who it is, and which channel.
 *
 * @since 1.0.0
 * @category models
 */
export interface Request<out P> {
  /** The channel's name. */
  readonly channel: string
  readonly params: P
  readonly caller: Caller
}

/**
 * What an application does for the clients of a channel.
 *
 * @since 1.0.0
 * @category models
 */
export interface Handlers<P, A, S, J, E, R, E1, R1> {
  /**
   * Grants a subscription, or fails to refuse it. It is not asked for one that comes with a token. A `Scope` that it
   * requires is the subscription's: what it acquires is released when that ends, however it does, or is refused.
   */
  readonly join: (request: Request<P> & { readonly data: J }) => Effect.Effect<Grant | void, E, R>
  /**
   * Takes a client's message, and says what to publish for it, if anything. A `Scope` that it requires closes when it is
   * done. Absent: clients publish nothing, error 103.
   */
  readonly handle?:
    | ((request: Request<P> & { readonly message: S }) => Effect.Effect<A | void, E1, R1>)
    | undefined
  /**
   * Whose messages `handle` gets: those of subscribers, whom `join` has let in (the default; others get error 103), or of
   * all who are connected.
   */
  readonly publishers?: "subscribers" | "all" | undefined
  /** What a failure is for the client. `ProtocolError` and `Disconnect` need none. */
  readonly onError?:
    | ((error: Exclude<E | E1, ProtocolError | Disconnect>) => ProtocolError | Disconnect)
    | undefined
}

/**
 * Asks for `onError` where there is something to map.
 *
 * @since 1.0.0
 * @category models
 */
export type NeedsOnError<E> = [Exclude<E, ProtocolError | Disconnect>] extends [never] ? unknown
  : { readonly onError: {} }

/**
 * Serves the clients of a channel, for as long as the layer lives.
 *
 * While it does, it decides about every channel whose name has the form of the pattern, instead of the namespace's
 * `allow…` options; after that, clients are told to try again. Parameters, the data of a subscription and messages are
 * decoded before; what is wrong is error 107. The handlers run in the fiber that serves the connection, and are
 * interrupted with it. Their services come from the layer, which waits at its end, for two seconds, until they are done.
 * A defect is logged, and is error 100.
 *
 * @since 1.0.0
 * @category layers
 */
export const handler = <P, A, S, J, E = never, R = never, E1 = never, R1 = never>(
  channel: Channel<P, A, S, J>,
  handlers: Handlers<P, NoInfer<A>, S, J, E, R, E1, R1> & NeedsOnError<E | E1>
): Layer.Layer<never, never, Channels | Exclude<R | R1, Scope.Scope>> =>
  Layer.scopedDiscard(Effect.gen(function*() {
    const channels = yield* Channels
    const { handle, join, onError, publishers }: Handlers<P, A, S, J, E, R, E1, R1> = handlers
    const runtime = yield* HandlerRuntime.make<R | R1>()

    const onFailure = (error: E | E1 | ProtocolError): Effect.Effect<never, ProtocolError | Disconnect> =>
      error instanceof ProtocolError || error instanceof Disconnect
        ? Effect.fail(error)
        : onError === undefined
        ? Effect.die(error)
        : Effect.suspend(() => Effect.fail(onError(error as Exclude<E | E1, ProtocolError | Disconnect>)))

    /** Decoding is part of the effect: what a schema throws is a defect like any other. */
    const run = <B>(
      name: string,
      scope: Scope.Scope | undefined,
      effect: Effect.Effect<B, E | E1 | ProtocolError, R | R1>
    ): Effect.Effect<B, ProtocolError | Disconnect> =>
      Effect.catchAllCause(
        runtime(Effect.catchAll(effect, onFailure), scope),
        (cause) =>
          isFault(cause)
            ? Effect.logError("The handler of a channel failed; the client gets error 100", cause).pipe(
              Effect.annotateLogs({ package: "effect-ws-hub", channel: name }),
              Effect.zipRight(Effect.fail(errors.internal))
            )
            : Effect.failCause(cause)
      )

    yield* channels.register({
      matches: channel.matches,
      subscribe: ({ caller, channel: name, data: raw, scope }) =>
        run(
          name,
          scope,
          Effect.gen(function*() {
            const params = yield* channel.decodeName(name)
            const data = yield* channel.join.decode(raw)
            return (yield* join({ channel: name, params, caller, data })) ?? {}
          })
        ),
      publish: ({ caller, channel: name, data, isSubscriber }) =>
        run(
          name,
          undefined,
          Effect.gen(function*() {
            if (handle === undefined) return yield* errors.permissionDenied
            const params = yield* channel.decodeName(name)
            if (!isSubscriber && publishers !== "all") return yield* errors.permissionDenied
            const message = yield* channel.send.decode(data)
            const answer = yield* handle({ channel: name, params, caller, message })
            if (answer === undefined) return Option.none()
            // What the handler yields is its own affair: the client did nothing wrong.
            return Option.some(yield* Effect.orDie(channel.receive.encode(answer)))
          })
        )
    })
  }))
