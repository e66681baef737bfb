/**
 * A handshake that is refused: by the application, by the hub, or by the rules.
 *
 * @since 1.0.0
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import type { HubUnavailable, TooManyConnections } from "../core/HubError.js"
import * as HubMetrics from "../core/HubMetrics.js"

/**
 * Fail with this in `authorize` to refuse a handshake with an HTTP status: 401 (unknown), 403 (not allowed), 429 (too
 * often), 503 (not now), or another from 400 to 599 (any other throws a
 * `RangeError`). `message` is the body, one sentence for the client.
 *
 * @since 1.0.0
 * @category errors
 */
export class Refused extends Data.TaggedError("Refused")<{
  readonly status: number
  readonly message: string
  /** When to try again; sent as `Retry-After` in whole seconds. 503 and 429 say 1 second if this is not given. */
  readonly retryAfter?: Duration.DurationInput | undefined
}> {
  constructor(args: {
    readonly status: number
    readonly message: string
    readonly retryAfter?: Duration.DurationInput | undefined
  }) {
    if (!(Number.isInteger(args.status) && args.status >= 400 && args.status <= 599)) {
      throw new RangeError(`A handshake cannot be refused with status ${args.status}: use 400 to 599.`)
    }
    super(args)
  }
}

/**
 * The handshake was not done in time.
 *
 * @internal
 */
export class TooSlow extends Data.TaggedError("TooSlow") {}

/**
 * What to answer instead of an upgrade.
 *
 * @internal
 */
export interface Refusal {
  readonly status: number
  readonly message: string
  readonly headers: Readonly<Record<string, string>>
}

/** As `ws_hub_handshake_refusals_total` tells them apart. */
type Reason =
  | "malformed"
  | "origin"
  | "subprotocol"
  | "unauthorized"
  | "timeout"
  | "failed"
  | "full"
  | "unavailable"
  | "not-mounted"

/**
 * Counts the refusal.
 *
 * @internal
 */
export const make = (
  reason: Reason,
  status: number,
  message: string,
  headers: Readonly<Record<string, string>> = {}
): Refusal => {
  HubMetrics.refusals(reason).unsafeUpdate(1, [])
  return { status, message, headers: { ...headers, connection: "close" } }
}

/** @internal */
export const of = (error: Refused | TooSlow | HubUnavailable | TooManyConnections): Refusal => {
  switch (error._tag) {
    case "Refused": {
      const retries = error.status === 429 || error.status === 503
      const after = error.retryAfter === undefined ? 1 : Math.ceil(Duration.toSeconds(error.retryAfter))
      const headers = retries || error.retryAfter !== undefined ? { "retry-after": String(after) } : {}
      return make("unauthorized", error.status, error.message, headers)
    }
    case "TooSlow":
      return make("timeout", 503, "The handshake took too long. Try again later.", { "retry-after": "1" })
    case "HubUnavailable":
      return make("unavailable", 503, error.message, { "retry-after": "1" })
    case "TooManyConnections":
      return make("full", error.scope === "hub" ? 503 : 429, error.message, { "retry-after": "5" })
  }
}
