/**
 * Who is in a channel, as leases that end by themselves.
 *
 * @since 1.0.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { BrokerError } from "./Broker.js"
import type { ClientInfo } from "./Publication.js"

/**
 * How many are in a channel.
 *
 * @since 1.0.0
 * @category models
 */
export interface PresenceStats {
  readonly clients: number
  readonly users: number
}

/**
 * Who is in a channel. Its laws, which `PresenceLaws` in `effect-ws-hub/testing` checks for any implementation:
 *
 * 1. A client is present from `add` until `remove`, or until its lease of `ttl` milliseconds after the last `add` ends.
 * 2. `add` again renews the lease and replaces the info; it never counts twice.
 * 3. `stats` counts what `get` lists: clients, and distinct users among them.
 * 4. Removing who is not there does nothing.
 *
 * @since 1.0.0
 * @category tags
 */
export class Presence extends Context.Tag("effect-ws-hub/Presence")<Presence, {
  readonly add: (channel: string, info: ClientInfo, ttl: number) => Effect.Effect<void, BrokerError>
  readonly remove: (channel: string, info: ClientInfo) => Effect.Effect<void, BrokerError>
  /** By client id. */
  readonly get: (channel: string) => Effect.Effect<ReadonlyMap<string, ClientInfo>, BrokerError>
  readonly stats: (channel: string) => Effect.Effect<PresenceStats, BrokerError>
}>() {}
