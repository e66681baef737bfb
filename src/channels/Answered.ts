/**
 * What all nodes together answer.
 *
 * @since 1.0.0
 */

/**
 * A node of the hub.
 *
 * @since 1.0.0
 * @category models
 */
export interface NodeInfo {
  readonly uid: string
  readonly name: string
  readonly version: string
  readonly clients: number
  readonly users: number
  readonly channels: number
  readonly subscriptions: number
  /** Seconds since it started. */
  readonly uptime: number
}

/**
 * What all nodes together answered. `missing` has the ids of the nodes whose part is not in it: they did not answer in
 * time (they may do it all the same), or they could not, since they are of another version. It is `["*"]` if it is not
 * known which other nodes there are, since what connects them is away. Empty: nothing is missing.
 *
 * A node that died is missing until its lease is over; its connections died with it. What was asked for a user may be
 * asked again: who is gone, or has it already, is left alone.
 *
 * @since 1.0.0
 * @category models
 */
export interface Answered {
  readonly missing: ReadonlyArray<string>
}

/**
 * Of how many connections it was true.
 *
 * @since 1.0.0
 * @category models
 */
export interface Counted extends Answered {
  readonly count: number
}

/**
 * Channels with subscribers, and how many.
 *
 * @since 1.0.0
 * @category models
 */
export interface ChannelsResult extends Answered {
  readonly channels: ReadonlyMap<string, { readonly clients: number }>
}

/**
 * The nodes; the one that was asked is the first.
 *
 * @since 1.0.0
 * @category models
 */
export interface InfoResult extends Answered {
  readonly nodes: ReadonlyArray<NodeInfo>
}

/**
 * Whether a client was found. If it was not and a node is missing, the client may be there.
 *
 * @since 1.0.0
 * @category models
 */
export interface SendResult extends Answered {
  readonly sent: boolean
}
