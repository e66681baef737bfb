/**
 * What runs for a connection: the application's effect, in a fiber of its own, and what its end means.
 *
 * @since 1.0.0
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import { CloseReason, type CloseWords, reasons } from "./CloseReason.js"
import type { Connection } from "./Connection.js"
import type { Host } from "./Host.js"
import { ConnectionClosed, Disconnect } from "./HubError.js"
import type { LiveConnection } from "./LiveConnection.js"

/**
 * The effect that runs for a connection: reads its messages, sends, joins. When it ends, so does the connection.
 *
 * @since 1.0.0
 * @category models
 */
export type Handler<P, E, R> = (connection: Connection<P>) => Effect.Effect<unknown, E, R>

/**
 * What a handler may be given besides: `E1` and `R1` are the greeting's own failure and requirements.
 *
 * @since 1.0.0
 * @category models
 */
export interface HandlerOptions<P, E, E1, R1> {
  /**
   * Runs first. What it sends arrives before anything that others send, and no message is handled before it is done.
   * What is published meanwhile, to the topics that it joins too, follows.
   */
  readonly greeting?: Handler<P, E1, R1> | undefined
  /** The close code and reason for a failure. Defaults to 1011; `Disconnect` and `ConnectionClosed` need none. */
  readonly onFailure?: ((error: E | E1) => Disconnect) | undefined
  /**
   * Codes and texts of the handler's own protocol, for ends that the hub decides. A code that cannot be sent is an error of
   * the mount; the hub itself ignores such an entry. Texts are cut to 123 bytes.
   */
  readonly closeWith?: CloseWords | undefined
}

/** What the end of a handler means for its connection, and whether someone should read about it. */
const verdict = <E>(
  exit: Exit.Exit<unknown, E>,
  onFailure: ((error: E) => Disconnect) | undefined
): { readonly reason: CloseReason; readonly log: boolean } => {
  if (Exit.isSuccess(exit)) return { reason: reasons.handlerEnd, log: false }
  if (!Chunk.isEmpty(Cause.defects(exit.cause))) return { reason: reasons.handlerFailure, log: true }
  const failure = Cause.failureOption(exit.cause)
  if (failure._tag === "None") return { reason: reasons.interrupt, log: false }
  if (failure.value instanceof ConnectionClosed) return { reason: reasons.handlerEnd, log: false }
  const disconnect = failure.value instanceof Disconnect
    ? failure.value
    : Option.getOrUndefined(Option.liftThrowable(() => onFailure?.(failure.value))())
  return disconnect === undefined
    ? { reason: reasons.handlerFailure, log: true }
    : { reason: new CloseReason({ by: "handler", code: disconnect.code, reason: disconnect.reason }), log: false }
}

/**
 * Starts the greeting and then the handler for a connection, in a fiber whose first step comes after the caller's turn.
 *
 * @internal
 */
export const start = <P, E, R, E1, R1>(
  host: Host,
  runtime: Runtime.Runtime<Exclude<R | R1, Scope.Scope>>,
  run: Handler<P, E, R>,
  options: HandlerOptions<P, E, E1, R1>
) =>
(connection: LiveConnection<P>): Fiber.RuntimeFiber<unknown, E | E1> => {
  const { context, fiberRefs } = runtime
  const own = Runtime.make({
    context: Context.add(context, Scope.Scope, connection.scope) as Context.Context<R | R1>,
    fiberRefs,
    runtimeFlags: Runtime.defaultRuntimeFlags
  })
  const greeting = Effect.suspend((): Effect.Effect<unknown, E1, R1> => options.greeting?.(connection) ?? Effect.void)
  const program = Effect.flatMap(greeting, () => {
    connection.greeted()
    return run(connection)
  })
  const outer = FiberRefs.getOrDefault(fiberRefs, FiberRef.currentScheduler)
  const scheduler = outer === host.wake.inner ? host.wake : outer
  const fiber = Runtime.runFork(own)(program, { immediate: false, scheduler })
  fiber.addObserver((exit) => {
    const { log, reason } = verdict(exit, options.onFailure)
    if (log && Exit.isFailure(exit)) {
      host.fork(
        Effect.logError("The handler of a connection failed; the connection is closed", exit.cause).pipe(
          Effect.annotateLogs({ package: "effect-ws-hub", connection: connection.id })
        )
      )
    }
    connection.onHandlerDone(reason)
  })
  return fiber
}
