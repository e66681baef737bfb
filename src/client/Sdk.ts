/**
 * Between the SDK's promises, callbacks and plain objects, and what stands for them here.
 *
 * @since 1.0.0
 */
import {
  type ClientInfo as SdkInfo,
  type EventMap,
  type PublicationContext,
  type TypedEventEmitter,
  UnauthorizedError
} from "centrifuge"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import { ProtocolError } from "../channels/ProtocolCode.js"
import type { ClientInfo, Publication } from "../channels/Publication.js"
import { ConnectionError, Unanswered, Unauthorized } from "./ClientError.js"
import { type Token, tokenText } from "./ClientOptions.js"

/** @internal */
export const infoOf = ({ chanInfo, client, connInfo, user }: SdkInfo): ClientInfo => ({
  user,
  client,
  ...(connInfo === undefined ? {} : { connInfo }),
  ...(chanInfo === undefined ? {} : { chanInfo })
})

/** @internal */
export const publicationOf = ({ data, info, offset, tags }: PublicationContext): Publication => ({
  data,
  offset: offset ?? 0,
  ...(info === undefined ? {} : { info: infoOf(info) }),
  ...(tags === undefined ? {} : { tags })
})

/** What promises of the SDK are rejected with. */
const rejection = (error: unknown): { readonly code: number; readonly message: string; readonly temporary: boolean } =>
  typeof error === "object" && error !== null && "code" in error && typeof error.code === "number"
    ? {
      code: error.code,
      message: "message" in error ? String(error.message) : "",
      temporary: "temporary" in error && error.temporary === true
    }
    // It could not be sent.
    : { code: 10, message: String(error), temporary: false }

const clientGone = [3, 4]

/** @internal */
export const requestError = (error: unknown): ProtocolError | Unanswered | ConnectionError => {
  const { code, message: reason, temporary } = rejection(error)
  return code >= 100
    ? new ProtocolError({ code, reason, temporary })
    : clientGone.includes(code)
    ? new ConnectionError({ code: 0, reason })
    : new Unanswered({ code, reason })
}

/**
 * Makes what fetches tokens for the SDK, until the signal is aborted. `onFailure` gets what went wrong.
 *
 * @internal
 */
export type Fetch = (signal: AbortSignal, onFailure: (cause: Cause.Cause<unknown>) => void) => () => Promise<string>

/** @internal */
export const tokens = <E, R>(
  getToken: Effect.Effect<Token, E, R> | undefined
): Effect.Effect<Fetch | undefined, never, Exclude<R, Scope.Scope>> =>
  getToken === undefined
    ? Effect.succeed(undefined)
    // Taken where nothing can be interrupted, the runtime would make fibers that nobody can.
    : Effect.map(
      Effect.interruptible(Effect.runtime<Exclude<R, Scope.Scope>>()),
      (runtime) => (signal, onFailure) => () =>
        new Promise((resolve, reject) => {
          const fiber = Runtime.runFork(runtime)(Effect.scoped(getToken))
          const stop = () => fiber.unsafeInterruptAsFork(FiberId.none)
          signal.addEventListener("abort", stop)
          if (signal.aborted) stop()
          fiber.addObserver((exit) => {
            signal.removeEventListener("abort", stop)
            if (Exit.isSuccess(exit)) return resolve(tokenText(exit.value))
            onFailure(exit.cause)
            reject(
              Option.exists(Cause.failureOption(exit.cause), (error) => error instanceof Unauthorized)
                ? new UnauthorizedError("")
                : new Error(Cause.pretty(exit.cause).split("\n", 1)[0])
            )
          })
        })
    )

/**
 * Listens to events of the SDK. Returns what takes the listeners away.
 *
 * @internal
 */
export const listen = <Events extends EventMap>(
  source: TypedEventEmitter<Events>,
  listeners: Partial<Events>
): () => void => {
  const all = Object.entries(listeners) as ReadonlyArray<[keyof Events, Events[keyof Events]]>
  for (const [name, listener] of all) source.on(name, listener)
  return () => {
    for (const [name, listener] of all) source.off(name, listener)
  }
}
