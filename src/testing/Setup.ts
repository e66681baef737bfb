/**
 * The hub of a run of the model.
 *
 * @since 1.0.0
 */
import type { OverflowPolicy } from "../core/HubConfig.js"

/** @internal */
export interface Setup {
  /** The hub starts when told. */
  readonly late: boolean
  /** Outboxes overflow soon, with this policy. */
  readonly overflow: "none" | OverflowPolicy
  readonly limit: number
}

/**
 * The times that the model knows of.
 *
 * @internal
 */
export const limits = {
  closeGrace: 300,
  drainDeadline: 1000,
  heartbeatInterval: 1000,
  heartbeatTimeout: 400
}

/** Milliseconds between two looks of the hub's heartbeat, and about the precision of everything in time. */
export const tick = 100
