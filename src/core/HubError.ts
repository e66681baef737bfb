/**
 * What can go wrong, as typed errors whose message is written for a person.
 *
 * @since 1.0.0
 */
import * as Data from "effect/Data"
import * as CloseReason from "./CloseReason.js"

/**
 * The hub takes no connections now: it is starting, draining or closed.
 *
 * @since 1.0.0
 * @category errors
 */
export class HubUnavailable extends Data.TaggedError("HubUnavailable")<{
  readonly state: "Starting" | "Draining" | "Closed"
}> {
  override get message() {
    return `The hub takes no connections: it is ${this.state.toLowerCase()}. Try again later.`
  }
}

/**
 * A limit on the number of connections is reached: of the whole hub, or of the peer's address.
 *
 * @since 1.0.0
 * @category errors
 */
export class TooManyConnections extends Data.TaggedError("TooManyConnections")<{
  readonly scope: "hub" | "address"
  readonly limit: number
}> {
  override get message() {
    return this.scope === "hub"
      ? `The hub is full: it serves ${this.limit} connections at most. Try again later.`
      : `Too many connections from this address: ${this.limit} at most. Close one first.`
  }
}

/**
 * An option or environment value is wrong; `key` names it.
 *
 * @since 1.0.0
 * @category errors
 */
export class InvalidOption extends Data.TaggedError("InvalidOption")<{
  readonly key: string
  readonly expected: string
  readonly actual: unknown
}> {
  override get message() {
    return `${this.key}: expected ${this.expected}, got ${
      typeof this.actual === "string" ? JSON.stringify(this.actual) : String(this.actual)
    }.`
  }
}

/**
 * The connection has ended and every message received before that was taken. A handler that fails with it is
 * regarded as having ended normally.
 *
 * @since 1.0.0
 * @category errors
 */
export class ConnectionClosed extends Data.TaggedError("ConnectionClosed")<{
  readonly reason: CloseReason.CloseReason
}> {
  override get message() {
    return `The connection ended (${this.reason.by}, code ${this.reason.code}).`
  }
}

/**
 * Fail with this in a handler to close its connection with a code and reason of your own.
 *
 * `code`: 1000 to 1014 without 1004 to 1006, or 3000 to 4999 (4000 to 4999 are for applications, RFC 6455 §7.4.2);
 * any other is a bug and throws a `RangeError`. `reason` is cut to 123 bytes of UTF-8.
 *
 * @since 1.0.0
 * @category errors
 */
export class Disconnect extends Data.TaggedError("Disconnect")<{
  readonly code: number
  readonly reason: string
}> {
  constructor(args: { readonly code: number; readonly reason?: string | undefined }) {
    if (!CloseReason.isSendable(args.code)) {
      throw new RangeError(
        `Close code ${args.code} cannot be sent: use 1000 to 1014 without 1004 to 1006, or 3000 to 4999.`
      )
    }
    super({ code: args.code, reason: CloseReason.truncate(args.reason ?? "") })
  }

  override get message() {
    return `Disconnect with code ${this.code}${this.reason === "" ? "" : `: ${this.reason}`}`
  }
}
