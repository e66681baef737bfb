/**
 * What is published in a channel, who it is from, and where it stands in the channel's stream.
 *
 * @since 1.0.0
 */

/**
 * Who a client is, as others in a channel see it. `connInfo` and `chanInfo` are any JSON value; absent if `undefined`.
 *
 * @since 1.0.0
 * @category models
 */
export interface ClientInfo {
  /** Empty for an anonymous user. */
  readonly user: string
  /** The connection's own id. */
  readonly client: string
  readonly connInfo?: unknown
  readonly chanInfo?: unknown
}

/**
 * A place in a channel's stream: `offset` counts its publications from 1; `epoch` names the stream, and is another one
 * once the stream was lost.
 *
 * @since 1.0.0
 * @category models
 */
export interface StreamPosition {
  readonly offset: number
  readonly epoch: string
}

/**
 * One publication. `data` is any JSON value, `null` included; between the parts of the hub it is the value's JSON text,
 * so that it is encoded once.
 *
 * @since 1.0.0
 * @category models
 */
export interface Publication<out Data = unknown> {
  readonly data: Data
  /** Who published it, if a client did. */
  readonly info?: ClientInfo | undefined
  /** Its place in the stream; 0 if the channel has no history, or the publication skipped it. */
  readonly offset: number
  readonly tags?: Readonly<Record<string, string>> | undefined
}
