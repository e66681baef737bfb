/**
 * The codes of the client protocol, in three tables: errors in replies, unsubscribe pushes, and disconnects.
 *
 * @since 1.0.0
 */
import * as Data from "effect/Data"
import { Disconnect } from "../core/HubError.js"

/**
 * An operation is refused or failed: what a client reads in `reply.error`, and what the server API answers.
 *
 * `code`: 100 to 113 are the protocol's own (see {@link errors}); applications take 400 to 1999. `temporary`: the client
 * may try again. `detail`: what is wrong in particular, where that is known; `reason` ends with it. `cause` is for the
 * log and never goes out.
 *
 * @since 1.0.0
 * @category errors
 */
export class ProtocolError extends Data.TaggedError("ProtocolError")<{
  readonly code: number
  readonly reason: string
  readonly temporary: boolean
  readonly detail?: string | undefined
  readonly cause?: unknown
}> {
  override get message() {
    return `${this.reason} (${this.code})`
  }
}

const error = (code: number, reason: string, temporary = false) => new ProtocolError({ code, reason, temporary })

/**
 * The errors of the protocol, as a client reads them.
 *
 * @since 1.0.0
 * @category errors
 */
export const errors = {
  internal: error(100, "internal server error", true),
  unauthorized: error(101, "unauthorized"),
  unknownChannel: error(102, "unknown channel"),
  permissionDenied: error(103, "permission denied"),
  methodNotFound: error(104, "method not found"),
  alreadySubscribed: error(105, "already subscribed"),
  limitExceeded: error(106, "limit exceeded"),
  badRequest: error(107, "bad request"),
  notAvailable: error(108, "not available"),
  tokenExpired: error(109, "token expired"),
  expired: error(110, "expired"),
  tooManyRequests: error(111, "too many requests", true),
  unrecoverablePosition: error(112, "unrecoverable position"),
  conflict: error(113, "conflict")
} satisfies Record<string, ProtocolError>

const detailed = ({ code, reason, temporary }: ProtocolError, detail: string) =>
  new ProtocolError({ code, reason: `${reason}: ${detail}`, temporary, detail })

/**
 * Something behind an operation failed: error 100 for the client, the cause for the log.
 *
 * @since 1.0.0
 * @category constructors
 */
export const internalError = (cause: unknown): ProtocolError =>
  new ProtocolError({ code: 100, reason: "internal server error", temporary: true, cause })

/**
 * Wrong parameters: error 107 with a sentence that says what is wrong.
 *
 * @since 1.0.0
 * @category constructors
 */
export const badRequest = (detail: string): ProtocolError => detailed(errors.badRequest, detail)

/**
 * An answer of which no outbox holds the whole.
 *
 * @internal
 */
export const answerTooLarge = detailed(errors.limitExceeded, "the answer is more than outboxBytes")

/**
 * What was to be sent has no text.
 *
 * @internal
 */
export const notJson = badRequest("the data is not JSON, or is nested too deeply")

/**
 * Error 108, with what is not available.
 *
 * @since 1.0.0
 * @category constructors
 */
export const notAvailable = (what: string): ProtocolError => detailed(errors.notAvailable, what)

/**
 * Why a subscription was taken from a client. Below 2500 the client stays unsubscribed; from 2500 on it subscribes again
 * at once, from its position if it has one.
 *
 * @since 1.0.0
 * @category models
 */
export interface Unsubscribe {
  readonly code: number
  readonly reason: string
}

/**
 * The unsubscribe codes that a server sends.
 *
 * @since 1.0.0
 * @category models
 */
export const unsubscribes = {
  server: { code: 2000, reason: "server unsubscribe" },
  insufficientState: { code: 2500, reason: "insufficient state" },
  expired: { code: 2501, reason: "subscription expired" },
  stateInvalidated: { code: 2502, reason: "state invalidated" }
} satisfies Record<string, Unsubscribe>

const disconnect = (code: number, reason: string) => new Disconnect({ code, reason })

/**
 * The close codes of the protocol. From 3500 to 3999 and from 4500 to 4999 the client does not come back by itself.
 *
 * @since 1.0.0
 * @category models
 */
export const disconnects = {
  shutdown: disconnect(3001, "shutdown"),
  internal: disconnect(3004, "internal server error"),
  expired: disconnect(3005, "connection expired"),
  subscriptionExpired: disconnect(3006, "subscription expired"),
  slow: disconnect(3008, "slow"),
  writeError: disconnect(3009, "write error"),
  insufficientState: disconnect(3010, "insufficient state"),
  forceReconnect: disconnect(3011, "force reconnect"),
  noPong: disconnect(3012, "no pong"),
  tooManyRequests: disconnect(3013, "too many requests"),
  stateInvalidated: disconnect(3014, "state invalidated"),
  invalidToken: disconnect(3500, "invalid token"),
  badRequest: disconnect(3501, "bad request"),
  stale: disconnect(3502, "stale"),
  force: disconnect(3503, "force disconnect"),
  connectionLimit: disconnect(3504, "connection limit"),
  channelLimit: disconnect(3505, "channel limit"),
  inappropriateProtocol: disconnect(3506, "inappropriate protocol"),
  permissionDenied: disconnect(3507, "permission denied"),
  notAvailable: disconnect(3508, "not available"),
  tooManyErrors: disconnect(3509, "too many errors")
} satisfies Record<string, Disconnect>

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/**
 * As it may go out. Without a reason clients forget the code, and one that is JSON they obey.
 *
 * @internal
 */
export const spoken = (reason: Disconnect): Disconnect =>
  reason.reason === ""
    ? disconnect(reason.code, "disconnect")
    : isJson(reason.reason)
    ? disconnect(reason.code, `reason: ${reason.reason}`)
    : reason

/**
 * Whether a client comes back by itself after a close code.
 *
 * @since 1.0.0
 * @category guards
 */
export const reconnects = (code: number): boolean =>
  code !== 1009 && !(code >= 3500 && code < 4000) && !(code >= 4500 && code < 5000)
