/**
 * What a connection needs of its hub.
 *
 * @since 1.0.0
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { CloseReason } from "./CloseReason.js"
import type { HubConfig } from "./HubConfig.js"
import type { LiveConnection } from "./LiveConnection.js"
import type { Turn } from "./Turn.js"
import type { WakeScheduler } from "./Wake.js"

/** @internal */
export interface Host {
  readonly config: HubConfig
  readonly turn: Turn
  readonly wake: WakeScheduler
  readonly now: () => number
  /** Runs what must not be interrupted before the connection is unregistered, which the hub's scope waits for. */
  readonly run: (effect: Effect.Effect<void>) => void
  /** Runs what may outlive the connection, in the hub's scope. */
  readonly fork: (effect: Effect.Effect<void>, options?: { readonly scope: Scope.Scope }) => void
  readonly join: (connection: LiveConnection, topic: string) => void
  readonly leave: (connection: LiveConnection, topic: string) => void
  /** The connection's end is decided. */
  readonly onEnded: (connection: LiveConnection) => void
  /** Nothing is left of the connection. */
  readonly onClosed: (connection: LiveConnection, reason: CloseReason) => void
  readonly onOverflow: (connection: LiveConnection) => void
}
