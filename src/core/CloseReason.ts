/**
 * Why a connection ended, and the one table of the close codes that the hub sends.
 *
 * @since 1.0.0
 */
import * as Data from "effect/Data"

/**
 * Who or what ended a connection.
 *
 * - `peer`: the peer sent a close frame.
 * - `transport`: the socket broke without one.
 * - `protocol`: the peer broke the WebSocket protocol or sent a message over the limit.
 * - `handler`: the handler ended, failed or died.
 * - `server`: the application closed it (`close`, `closeAll`).
 * - `heartbeat`: the peer did not answer a ping in time.
 * - `slow-consumer`: the peer did not read fast enough and the overflow policy disconnects.
 * - `rate-limit`: the peer sent more messages than it may.
 * - `drain`: the hub drains or closes.
 * - `interrupt`: the fiber that served the connection was interrupted.
 *
 * @since 1.0.0
 * @category models
 */
export type CloseBy =
  | "peer"
  | "transport"
  | "protocol"
  | "handler"
  | "server"
  | "heartbeat"
  | "slow-consumer"
  | "rate-limit"
  | "drain"
  | "interrupt"

/**
 * Why a connection ended. Decided once, by whatever ended it first, and the same for everyone who asks.
 *
 * @since 1.0.0
 * @category models
 */
export class CloseReason extends Data.Class<{
  readonly by: CloseBy
  /** The close code (RFC 6455 §7.4): the peer's own if it closed, else the one it was sent. 1005: none; 1006: lost. */
  readonly code: number
  /** Text for a person, at most 123 bytes of UTF-8 (RFC 6455 §5.5). */
  readonly reason: string
}> {}

/**
 * A code and a reason to close with: 1000 to 1014 without 1004 to 1006, or 3000 to 4999, and at most 123 bytes.
 *
 * @since 1.0.0
 * @category models
 */
export interface CloseWith {
  readonly code: number
  readonly reason?: string | undefined
}

/**
 * The codes that the hub sends of its own accord. 1000 to 1011 are RFC 6455 §7.4.1, 1013 and 3008 are in the IANA
 * WebSocket Close Code Number Registry.
 *
 * @since 1.0.0
 * @category models
 */
export const CloseCode = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  noStatus: 1005,
  abnormal: 1006,
  invalidPayload: 1007,
  policyViolation: 1008,
  messageTooBig: 1009,
  internalError: 1011,
  tryAgainLater: 1013,
  timeout: 3008
} as const

/** @internal */
export const reasons = {
  transport: new CloseReason({ by: "transport", code: CloseCode.abnormal, reason: "connection lost" }),
  handlerEnd: new CloseReason({ by: "handler", code: CloseCode.normal, reason: "" }),
  handlerFailure: new CloseReason({ by: "handler", code: CloseCode.internalError, reason: "internal error" }),
  heartbeat: new CloseReason({ by: "heartbeat", code: CloseCode.timeout, reason: "no answer to ping" }),
  slowConsumer: new CloseReason({ by: "slow-consumer", code: CloseCode.policyViolation, reason: "slow consumer" }),
  rateLimit: new CloseReason({ by: "rate-limit", code: CloseCode.policyViolation, reason: "too many messages" }),
  drain: new CloseReason({ by: "drain", code: CloseCode.goingAway, reason: "server is going away" }),
  interrupt: new CloseReason({ by: "interrupt", code: CloseCode.goingAway, reason: "interrupted" })
} satisfies Record<string, CloseReason>

/**
 * Codes and texts of a protocol's own, for ends that the hub decides.
 *
 * @since 1.0.0
 * @category models
 */
export type CloseWords = { readonly [Name in keyof typeof reasons]?: CloseWith | undefined }

const names = Object.keys(reasons) as Array<keyof typeof reasons>

/**
 * The reason in the words of a protocol, if that has some for it that can be sent.
 *
 * @internal
 */
export const reworded = (reason: CloseReason, words: CloseWords): CloseReason => {
  const name = names.find((name) => reasons[name] === reason)
  const said = name === undefined ? undefined : words[name]
  return said === undefined || !isSendable(said.code)
    ? reason
    : new CloseReason({ by: reason.by, code: said.code, reason: truncate(said.reason ?? "") })
}

/**
 * Whether an endpoint may put the code in a close frame: 1000 to 1014 without the reserved 1004 to 1006, and 3000 to
 * 4999 (RFC 6455 §7.4).
 *
 * @since 1.0.0
 * @category guards
 */
export const isSendable = (code: number): boolean =>
  Number.isInteger(code) &&
  (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006) || code >= 3000 && code <= 4999)

const encoder = new TextEncoder()

/**
 * Shortens a text to the 123 bytes of UTF-8 that fit in a close frame (RFC 6455 §5.5), between characters.
 *
 * @since 1.0.0
 * @category combinators
 */
export const truncate = (reason: string): string =>
  reason.slice(0, encoder.encodeInto(reason, new Uint8Array(123)).read)
