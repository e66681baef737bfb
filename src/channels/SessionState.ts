/**
 * The states of one client's session, and what leads from one to the other.
 *
 * ```text
 *             connect                 replied
 *  Waiting ───────────▶ Connecting ───────────▶ Connected
 *     │                     │  error reply          │
 *     │ stale 3502          └──────────▶ Refused    │ pings and pongs, expiry, presence
 *     ▼                                     ▼       ▼
 *   Over ◀───────────────────── the connection has ended
 * ```
 *
 * @since 1.0.0
 */
import type { Command } from "./ProtocolCommand.js"

/** @internal */
export type State = "Waiting" | "Connecting" | "Connected" | "Refused" | "Over"

/**
 * `connect`: the command came. `replied`, `refused`: it was answered, by a result or an error. `ended`: the connection did.
 *
 * @internal
 */
export type Event = "connect" | "replied" | "refused" | "ended"

const transitions: { readonly [_ in State]: { readonly [_ in Event]?: State } } = {
  Waiting: { connect: "Connecting", ended: "Over" },
  Connecting: { replied: "Connected", refused: "Refused", ended: "Over" },
  Connected: { ended: "Over" },
  Refused: { ended: "Over" },
  Over: {}
}

/**
 * The state after an event. One that means nothing in a state changes nothing: what is over stays so.
 *
 * @internal
 */
export const after = (state: State, event: Event): State => transitions[state][event] ?? state

/**
 * Whether a client may say this in a state. If not, it is closed with 3501.
 *
 * @internal
 */
export const takes = (state: State, command: Command["_tag"]): boolean =>
  command === "connect" ? state === "Waiting" : state === "Connected"
